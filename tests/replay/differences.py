"""The differences between the recorded answers and today's that are allowed, each with its reason. No other one passes.

An entry turns today's answer back into the recorded one. Where a key was added:

    Difference(family="documents", cases="* guest show *", reason="a guest's document names its claim", undo=_without_claim)

An entry that changes nothing any more fails the tests, so that the list holds what is true and no more.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from xml.etree import ElementTree

from tests.drivers.libvirt import record_1
from tests.replay import recorded_documents, recorded_maps
from tests.replay.recording import Difference, inside

from pinfold.drivers.libvirt import metadata


def _scheduler_details(guest: Any) -> Any:
    """The guest with the scheduler's columns among its details, where they were."""
    details = dict(guest["details"])
    if only_on := guest.pop("only_on"):
        details["only_on"] = only_on
    if member_of := guest.pop("member_of"):
        details["member_of"] = ",".join(member_of)
    details |= {f"failed_on:{one['host']}": f"{one['name']}: {one['sentence']}" for one in guest.pop("failed_on")}
    if refusals := guest.pop("refusals"):
        details["refused"] = "\n".join(f"{one['revision']} {one['host']}: {one['sentence']}" for one in refusals)
    if moved := guest.pop("moved"):
        details["moved"] = json.dumps({"v": 1, "value": moved}, separators=(",", ":"), sort_keys=True)
    guest["details"] = [list(pair) for pair in sorted(details.items())]
    if fault := guest["fault"]:
        refusals = fault.pop("refusals")
        fault["reasons"] = [[one["host"], one["sentence"]] for one in refusals]
        fault["revisions"] = [[one["host"], one["revision"]] for one in refusals if one["revision"] is not None]
    return guest


def _in_orders(orders: Any) -> Any:
    for order in orders:
        _scheduler_details(order["guest"])
        _plain_claims([order["claim"]])
    return orders


def _plain_claims(claims: Any) -> Any:
    for claim in claims:
        assert (claim.pop("role"), claim.pop("held"), claim.pop("shapes")) == ("runs", claim["revision"], 0)
    return claims


def _bare_claim(value: Any) -> Any:
    """The value with a server's placement whose claim has neither role nor the revision at which it was held."""
    if isinstance(value, dict) and isinstance(claim := value.get("claim"), dict):
        value = value | {"claim": {name: part for name, part in claim.items() if name not in ("role", "held")}}
    return inside(value, _bare_claim)


def _ledger_claims(host: Any) -> Any:
    for claim in host["state"]["ledger"]["claims"]:
        del claim["id"]
    return host


def _no_claim(message: Any) -> Any:
    """A message, a tombstone or several, that named no claim."""
    for one in message if isinstance(message, list) else [message]:
        one.pop("claim", None)
    return message


def _no_repin(host: Any) -> Any:
    """The host without the re-pin of its guests."""
    host["record"].pop("repin") if "record" in host else host.pop("repin")
    return host


def _nobody_unmoved(value: Any) -> Any:
    """The report of a guest without the reason why it could not follow its claim."""
    if isinstance(value, dict) and value.get("unmoved") == "":
        value = {key: one for key, one in value.items() if key != "unmoved"}
    return inside(value, _nobody_unmoved)


def _no_pools(orders: Any) -> Any:
    del orders["pools"], orders["question"], orders["guest_questions"], orders["repairs"]
    assert orders.pop("lease", None) is None
    return orders


def _no_networks(value: Any) -> Any:
    """The value without the networks and features of a host, and without the ports of a guest: none of them was there."""
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if key not in ("networks", "ports", "features", "processor_traits") or one != []}
    return inside(value, _no_networks)


def _no_caches(value: Any) -> Any:
    """The value without the last-level caches of cells and cores. The hosts that were recorded report none."""
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if not ((key == "caches" and one == []) or (key == "cache" and one is None))}
    return inside(value, _no_caches)


def _not_left(value: Any) -> Any:
    """The value without those whose threads have left a pCPU: only a finding named them."""
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if key != "left_by"}
    return inside(value, _not_left)


def _no_strays(value: Any) -> Any:
    """The value without the strays of pCPUs and of hosts, and without the vhost threads: only findings named them."""
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if key not in ("strays", "more_strays", "vhost_runs")}
    return inside(value, _no_strays)


def _no_any_cell(value: Any) -> Any:
    """The value without the mark that the operator has no preference among host cells."""
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if key != "any_cell"}
    return inside(value, _no_any_cell)


def _no_pauses(value: Any) -> Any:
    """The value without the pause of a guest, and without why it could not be paused: a guest was never paused."""
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if key not in ("pause", "not_paused") or one != ""}
    return inside(value, _no_pauses)


def _unlimited(answer: Any) -> Any:
    """The answer to a fit whose limit of CPU time had no effect."""
    answer["out"]["not_acted_upon"] = ["quota:cpu_shares"]
    return answer


def _quota(answer: Any) -> Any:
    """The preview as it was asked with another key without effect, `quota:cpu_shares`, which the service refuses now."""
    return json.loads(
        json.dumps(answer).replace('"hw:sound_model": "usb"', '"quota:cpu_shares": "9"').replace("hw:sound_model", "quota:cpu_shares")
    )


def _no_failed_repairs(answer: Any) -> Any:
    """A repair that did not say which guests' repair failed; none did."""
    assert answer["out"].pop("failed") == []
    return answer


def _no_network_endpoint(answer: Any) -> Any:
    """The clouds.yaml without the address of the Network API."""
    lines = answer["out"]["clouds.yaml"].splitlines(keepends=True)
    answer["out"]["clouds.yaml"] = "".join(line for line in lines if "network_endpoint_override" not in line)
    return answer


def _no_takeovers(orders: Any) -> Any:
    for order in orders["orders"]:
        del order["takeover"]
    return orders


def _console_in_a_file(xml: str) -> str:
    """The domain whose serial console is a file, and no terminal with a log."""
    return re.sub(r'<serial type="pty">(\s*)<log file=("[^"]*") append="on" />', r'<serial type="file">\1<source path=\2 />', xml)


def _no_new_disks(orders: Any) -> Any:
    for order in orders["orders"]:
        assert order.pop("rebuild") == 0
    return orders


def _no_detachments(orders: Any) -> Any:
    """Orders from before interfaces were detached."""
    for order in orders["orders"]:
        assert order.pop("detach") == []
    return orders


def _no_config_drives(orders: Any) -> Any:
    for order in orders["orders"]:
        del order["config_drive"]
    return orders


def _no_key_pairs(limits: Any) -> Any:
    limits["answer"]["limits"]["absolute"]["maxTotalKeypairs"] = 0
    return limits


def _orders_1(orders: Any) -> Any:
    del orders["protocol"]
    for order in orders["orders"]:
        claim = order["claim"]
        order |= {"claim": claim["id"], "revision": claim["revision"], "fit": claim["fit"]}
    return orders | {"tombstones": _no_claim(orders["tombstones"])}


def _plain_findings(document: Any) -> Any:
    """The document with findings that have no more than their sentence to say which definition is wrong, and by what."""
    if isinstance(document, dict) and {"code", "sentence", "by_record", "definition"} <= document.keys():
        document = {key: value for key, value in document.items() if key not in ("by_record", "definition")}
    return inside(document, _plain_findings)


def _no_image(value: Any) -> Any:
    """The value with servers that have no image, which was allowed."""
    for key, beside in (("image", "flavor"), ("imageRef", "flavorRef")):
        if isinstance(value, dict) and value.keys() >= {key, beside}:
            value = value | {key: ""}
    return inside(value, _no_image)


def _whole_pool(value: Any) -> Any:
    """The value without the locality of overhead threads, which was always the whole pool."""
    later = {"locality": "pool", "overhead_cells": []}
    if isinstance(value, list):
        value = [one for one in value if not (isinstance(one, dict) and one.get("name") == "locality")]
    elif isinstance(value, dict):
        value = {key: one for key, one in value.items() if key not in later or one != later[key]}
    return inside(value, _whole_pool)


def _no_networks_of_files(value: Any) -> Any:
    """The value without the networks of the files, of which there were none."""
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if (key, one) != ("networks", {})}
    return inside(value, _no_networks_of_files)


_HOST_REPORTS: Final = (
    ("story", "* PUT /agent/v1/host"),
    ("messages", "*"),
    ("messages-read", "*"),
    ("sqlite-read", "host *"),
    ("postgresql-read", "host *"),
)
"""The families and cases that hold an agent's report of its host."""
_UNSET_CELLS: Final = " Unset is false, except that host_strategy = least-loss then chooses cells by what their use would lose."


_CHECKED = ", but none whose token or password is being checked. Half as many are checked at a time, and others are answered 429"
_BESIDE_KEYSTONE = (
    " With auth = keystone there are accounts only if this is set; they see all projects, for the web page, for Prometheus, and for when "
    "Keystone is away."
)


def _older_options(value: Any) -> Any:
    """The sample without the newer options (hosts, repairs, networks, processors, Keystone, consoles, passwords) and newer help."""
    cpu = (("libvirt", "cpu_mode"), ("libvirt", "cpu_models"), ("libvirt", "cpu_model_extra_flags"))
    new = (("scheduler", "host_strategy"), ("pinfold_agent", "repair"), ("networks", "file"), ("pinfold_api", "auth"), *cpu)
    if isinstance(value, list):
        value = [
            one
            for one in value
            if not (isinstance(one, dict) and (one.get("group") in ("serial_console", "api") or (one.get("group"), one.get("name")) in new))
        ]
    elif isinstance(value, str):
        for added in (
            " An agent takes over changes of the three sets at SIGHUP.",
            _UNSET_CELLS,
            " with a password",
            " One with several queues adds it for each.",
            _BESIDE_KEYSTONE,
            _CHECKED,
        ):
            value = value.replace(added, "")
        return value
    return inside(value, _older_options)


def _no_drift(value: Any) -> Any:
    """The answer without the drift and the networks of listed hosts."""
    if isinstance(value, dict) and value.keys() >= {"disabled_reason", "cells"}:
        value = {key: one for key, one in value.items() if key not in ("drift", "networks")}
    return inside(value, _no_drift)


def _overbooked_unread(guest: Any) -> Any:
    """The guest without its record, if a warning in it has less than no room."""
    placement = (guest["record"] or {"placement": {"warnings": []}})["placement"]
    for room in (warning["available"] for warning in placement["warnings"] if warning["available"] < 0):
        guest["problem"] = f"pinfold's record in the domain's metadata: <warning> has available='{room}', a number is expected"
        guest["pins"] = {"pinned": placement["taken"], "float_vcpus": 0, "float_set": "", "emulator": placement["emulator"]["cpus"]}
        guest["record"] = None
    return guest


def _bare_checks(document: Any) -> Any:
    """The answers of `doctor` without the check, its reason, its facts and its advice."""
    for check in document["checks"]:
        for key in ("check", "why", "seen", "advice"):
            del check[key]
    return document


_FORMS = "guests, threads and fits have one form, in every document"
_FITS = "a fit and a refusal have one form, with a service and without"
_CLAIM = "a claim has one form, with its role and the revision at which it was held"
_MAP = "the command line and the service have one map of a host"


def _record_1(xml: str) -> str:
    """The domain with its record in the form of version 1."""
    root = ElementTree.fromstring(xml)
    notes = root.find("metadata")
    assert notes is not None
    notes[0] = record_1.element(metadata.record_of(notes[0]))
    ElementTree.indent(root)
    return record_1.prefixed(root) + "\n"


def _documents_1(document: Any) -> Any:
    """The document with the records of its domain in the form of version 1."""
    if "xml" in document["out"]:
        document["out"]["xml"] = _record_1(document["out"]["xml"].replace("<id>", "ID")).replace("ID", "<id>")
    return document


_COLUMNS = "what the scheduler keeps of a guest has columns of its own, and a fault has refusals"
_ROLES = "a claim has a role, the revision at which it was held, and the version of the shapes by which its host was chosen"
_NAMED = "reports, absences, tombstones and ledgers name the claim"

DIFFERENCES: tuple[Difference, ...] = (
    *(
        difference
        for family in ("sqlite-read", "postgresql-read")
        for difference in (
            Difference(family=family, cases="guest *", reason=_COLUMNS, undo=_scheduler_details),
            Difference(family=family, cases="orders of *", reason=f"{_COLUMNS}; {_ROLES}", undo=_in_orders),
            Difference(family=family, cases="claims of *", reason=_ROLES, undo=_plain_claims),
            Difference(family=family, cases="host *", reason=_NAMED, undo=_ledger_claims),
            Difference(family=family, cases="tombstones of *", reason=_NAMED, undo=_no_claim),
        )
    ),
    *(
        Difference(family=family, cases="POST /agent/v1/guests/*", reason=_NAMED, undo=_no_claim)
        for family in ("messages", "messages-read")
    ),
    *(
        Difference(family=family, cases="host *", reason="a host says who is on the way to another place", undo=_no_repin)
        for family in ("sqlite-read", "postgresql-read")
    ),
    *(
        Difference(family=family, reason="an agent says which guest could not follow its claim", undo=_nobody_unmoved)
        for family in ("messages", "messages-read", "story")
    ),
    Difference(family="messages", cases="read orders", reason="the service may order pools and ask for samples", undo=_no_pools),
    Difference(family="messages", cases="read orders", reason="a guest may have a config drive", undo=_no_config_drives),
    Difference(family="messages", cases="read orders", reason="a guest may get a new disk", undo=_no_new_disks),
    Difference(family="messages", cases="read orders", reason="an interface may be detached", undo=_no_detachments),
    Difference(family="messages", cases="read orders", reason="a guest's domain may have been there before", undo=_no_takeovers),
    *(
        Difference(family=family, cases=cases, reason="a host offers networks, and a guest has ports on them", undo=_no_networks)
        for family, cases in _HOST_REPORTS
    ),
    *(
        Difference(family=family, cases=cases, reason="a report says whether the operator prefers host cells", undo=_no_any_cell)
        for family, cases in _HOST_REPORTS
    ),
    *(
        Difference(family=family, cases=cases, reason="a pCPU names those whose threads have left it", undo=_not_left)
        for family, cases in (("story", "* GET /v1/hosts/*/map"), ("documents", "*: host map*"))
    ),
    *(
        Difference(family=family, cases=cases, reason="a pCPU names those who stray there, and tells vhost threads", undo=_no_strays)
        for family, cases in (("story", "* GET /v1/hosts/*/map"), ("documents", "*: host map*"))
    ),
    *(
        Difference(family=family, cases=cases, reason="a host reports the last-level cache of each core", undo=_no_caches)
        for family, cases in (
            *_HOST_REPORTS,
            ("story", "* GET /v1/hosts/*/map"),
            ("documents", "*: host show*"),
            ("documents", "*: host map*"),
        )
    ),
    *(
        Difference(family=family, cases=cases, reason="a guest may be paused, and an agent says why it could not be", undo=_no_pauses)
        for family, cases in (
            ("story", "* POST /agent/v1/guests/*"),
            ("messages", "*"),
            ("messages-read", "*"),
            ("sqlite-read", "*"),
            ("postgresql-read", "*"),
        )
    ),
    Difference(family="documents", cases="*: repair *--json", reason="a repair says which guests' repair failed", undo=_no_failed_repairs),
    Difference(family="documents", cases="*: config clouds *", reason="the service has a Network API", undo=_no_network_endpoint),
    Difference(family="messages", cases="read orders", reason=_NAMED, undo=_orders_1),
    Difference(family="story", cases="* GET /compute/v2.1/limits", reason="accounts have key pairs", undo=_no_key_pairs),
    Difference(family="documents", cases="*: config check --json", reason="it names the networks of the files", undo=_no_networks_of_files),
    Difference(family="story", reason="a server boots an image", undo=_no_image),
    Difference(family="service-documents", cases="server [!c]*", reason="a server boots an image", undo=_no_image),
    *(
        Difference(
            family=family, cases=cases, reason="limits and fits say on which part of the pool overhead threads run", undo=_whole_pool
        )
        for family, cases in (
            ("documents", "*: config sample --json"),
            ("documents", "*: host show*"),
            ("documents", "*: config check*"),
            ("story", "* PUT /agent/v1/host"),
            ("messages", "*"),
            ("messages-read", "*"),
            ("sqlite-read", "*"),
            ("postgresql-read", "*"),
        )
    ),
    Difference(
        family="documents",
        cases="*: config sample --json",
        reason="an operator chooses hosts, repairs, networks, processors, Keystone, consoles, passwords; pools change at SIGHUP",
        undo=_older_options,
    ),
    *(
        Difference(family=family, cases=cases, reason="a host in a listing has its drift and its networks", undo=_no_drift)
        for family, cases in (("story", "*"), ("service-documents", "*host*"))
    ),
    Difference(family="documents", reason=_FORMS, undo=recorded_documents.undone),
    *(
        Difference(family=family, reason=_FORMS, undo=recorded_documents.reported)
        for family in ("story", "service-documents", "messages", "messages-read")
    ),
    *(
        Difference(family="documents", cases=f"*: {command} *", reason=_FORMS, undo=recorded_documents.proof)
        for command in ("guest show", "guest restart")
    ),
    Difference(family="documents", cases="*: guest replace *", reason=_FORMS, undo=recorded_documents.replacement),
    Difference(family="documents", cases="*: host show*", reason=_FORMS, undo=recorded_documents.limits),
    Difference(family="documents", cases="*: host map*", reason=_MAP, undo=recorded_maps.of_the_command),
    Difference(family="documents", cases="*: host show*", reason=_MAP, undo=recorded_maps.own_booking),
    Difference(family="story", cases="* GET /v1/hosts/*/map", reason=_MAP, undo=recorded_maps.of_the_service),
    Difference(family="domains-read", reason=_FORMS, undo=recorded_documents.undone),
    Difference(family="documents", reason=_FITS, undo=recorded_documents.fit_answer),
    Difference(family="documents", cases="*quota:cpu_shares=9*--json", reason="a limit of CPU time has effect", undo=_unlimited),
    Difference(family="story", cases="* POST /v1/fits", reason="a key that promises what no server gets is refused", undo=_quota),
    Difference(family="story", cases="* POST /v1/fits", reason=_FITS, undo=recorded_documents.service_fits),
    Difference(family="story", cases="* GET /v1/servers/*", reason=_FITS, undo=recorded_documents.service_fits),
    Difference(family="story", cases="* GET /v1/servers/*", reason=_CLAIM, undo=_bare_claim),
    Difference(family="service-documents", cases="server *", reason=_CLAIM, undo=_bare_claim),
    Difference(family="service-documents", reason=_FITS, undo=recorded_documents.service_fits),
    Difference(family="domains", reason="the serial console is a terminal with a log", undo=_console_in_a_file),
    Difference(family="domains", reason="the record is one JSON text", undo=_record_1),
    Difference(family="documents", cases="* --xml --json", reason="the record is one JSON text", undo=_documents_1),
    Difference(family="domains-read", reason="the record of a guest on an overbooked pool can be read", undo=_overbooked_unread),
    Difference(family="documents", cases="doctor", reason="doctor says why, how it was seen and what to do", undo=_bare_checks),
    Difference(family="documents", reason="a finding says all that its sentence is made of", undo=_plain_findings),
)
