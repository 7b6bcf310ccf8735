"""The screens of the service's servers, flavors and hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.phrases import moment
from pinfold.core.encoding import reader
from pinfold.core.fit.answer import EmulatorPlacement, Fit
from pinfold.core.overhead import ThreadClass, masks
from pinfold.core.plural import count, mib
from pinfold.core.printable import shell_word

_STYLES: Final = {"ACTIVE": "green", "ERROR": "bold red", "BUILD": "yellow", "UNKNOWN": "bold yellow", "SHUTOFF": "dim"}
_RUNNING: Final = (1, 3)
"""Nova's power states of a guest that has a process: running and paused."""
_EMULATOR: Final = {
    EmulatorPlacement.FLOAT: "over its own pCPUs",
    EmulatorPlacement.POOL: "the overhead pool",
    EmulatorPlacement.ISOLATED: "a pCPU of their own",
}
_read_fit = reader(Fit)


def servers_view(servers: Sequence[Mapping[str, Any]], *, long: bool = False) -> list[RenderableType]:
    """One line for each server, by name; with `long` also its `drift`. Pure."""
    if not servers:
        return [Text("no servers", style="dim")]
    table = Columns("server", "status", "host", "flavor", "vCPUs", "memory", *(["drift"] if long else []), "id")
    for server in sorted(servers, key=lambda server: (server["name"], server["id"])):
        flavor = server["flavor"]
        host = server["OS-EXT-SRV-ATTR:host"] or "-"
        size = (flavor["original_name"], str(flavor["vcpus"]), mib(flavor["ram"]))
        table.add_row(server["name"], _status(server), host, *size, *([_drift(server)] if long else []), server["id"])
    return [table]


def rebooked_view(servers: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """One line for each server whose overhead was booked again: what it books, or why not. Pure."""
    lines: list[RenderableType] = []
    for server in servers:
        books = Text(f"{server['name']}: books {server['overhead_millicpu']} millicpu of the overhead pool")
        lines.append(books.append(f", as before: {server['refused']}", style="yellow") if server["refused"] else books)
    return lines or [Text("no servers", style="dim")]


def server_view(server: Mapping[str, Any], placement: Mapping[str, Any]) -> list[RenderableType]:
    """One server: its head, its recorded placement, what its agent last saw, and what other hosts lacked. Pure."""
    flavor, claim = server["flavor"], placement["claim"]
    head = Text.assemble((server["name"], "bold"), ": ", _status(server), f", {count(flavor['vcpus'], 'vCPU')}, {mib(flavor['ram'])}")
    lines: list[RenderableType] = [head.append(f", flavor {flavor['original_name']}")]
    if placement["host"]:
        lines.append(
            Text(f"  on host {placement['host']}" + ("" if placement["host_up"] else ", which is silent: nobody knows whether it runs"))
        )
    if claim is not None:
        fit = _read_fit(claim["fit"], "fit")
        lines.append(Text(f"  policy {placement['policy']}: emulator threads on {fit.emulator}, {_EMULATOR[fit.emulator_placement]}"))
        lines += [Text(f"  guest cell {cell.guest_cell} on host cell {cell.host_cell}") for cell in fit.cells]
        lines += [Text.assemble(("  warning: ", "yellow"), reason.sentence()) for reason in fit.warnings]
        booked = ", ".join(f"{amount:,} {name}" for name, amount in claim["amounts"].items())
        lines.append(Text(f"  takes {booked}", style="dim"))
    if placement.get("moved"):
        moved = placement["moved"]
        lines.append(Text(f"  moved on {moved['host']} at revision {moved['revision']}: {moved['before']} -> {moved['after']}"))
        lines += [Text(f"    {sentence}", style="dim") for sentence in moved["because"]]
    lines.append(Text(f"  id {server['id']}", style="dim"))
    if server.get("fault"):
        lines += [Text(), Text(f"✗ {server['fault']['message'].partition(': ')[0]}", style="bold red")]
    lines += _refusals(placement["refusals"])
    if placement["observed"]:
        observed, running = placement["observed"], server["OS-EXT-STS:power_state"] in _RUNNING
        lines += [Text(), *_threads(observed, running=running)]
        if running and observed["drift"] and placement["host"]:
            hint = f"  the commands that undo this: pinfold host drift {shell_word(placement['host'])}"
            lines.append(Text(hint, no_wrap=True))
    return lines


def moved_view(name: str, moved: Mapping[str, Any]) -> list[RenderableType]:
    """A line that says that a server starts in another place than before, and why. Pure."""
    words = f"{name} starts in another place on {moved['host']}: {moved['before']} -> {moved['after']}"
    return [Text(words), *(Text(f"  {sentence}", style="dim") for sentence in moved["because"])]


def flavors_view(flavors: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """One line for each flavor, by name. Pure."""
    if not flavors:
        return [Text("no flavors", style="dim")]
    table = Columns("flavor", "vCPUs", "memory", "disk", "extra specs")
    for flavor in sorted(flavors, key=lambda flavor: flavor["name"]):
        specs = Group(*(f"{key}={value}" for key, value in sorted(flavor["extra_specs"].items())))
        table.add_row(flavor["name"], str(flavor["vcpus"]), mib(flavor["ram"]), f"{flavor['disk']} GiB", specs)
    return [table]


def preview_view(answer: Mapping[str, Any]) -> list[RenderableType]:
    """The hosts that would take a guest, best first, and what the others lack. Pure."""
    lines: list[RenderableType] = []
    if answer["candidates"]:
        table = Columns("host", "vCPUs on", "emulator threads on")
        for candidate in answer["candidates"]:
            fit = _read_fit(candidate["fit"], "fit")
            emulator = f"{fit.emulator}, {_EMULATOR[fit.emulator_placement]}"
            table.add_row(candidate["host"], " ".join(map(str, masks(fit).vcpus)), emulator)
        lines += [Text.assemble(("fits", "bold green"), f" on {count(len(answer['candidates']), 'host')}, the best first"), table]
    else:
        lines.append(Text.assemble(("fits nowhere", "bold red")))
    return lines + _refusals(answer["refusals"])


def hosts_view(hosts: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """One line for each host of the service, by name. Pure."""
    if not hosts:
        return [Text("no hosts; `pinfold host add NAME` makes one known", style="dim")]
    table = Columns("host", "state", "cells", "dedicated", "shared", "overhead", "drift", "takes new guests")
    for host in hosts:
        pools = host["pools"]
        state = Text("up", style="green") if host["up"] else Text("fenced" if host["fenced"] else "down", style="bold red")
        takes = f"no: {host['disabled_reason'] or 'disabled'}" if host["disabled"] else "yes" if host["up"] else "no: it is silent"
        overhead = "none" if pools["overhead"] is None else "the shared pool" if pools["overhead"] == pools["shared"] else pools["overhead"]
        sets = (pools["dedicated"] or "-", pools["shared"] or "-", overhead or "offline")
        table.add_row(host["name"], state, str(host["cells"]), *sets, _drift(host), takes)
    return [table]


def _drift(one: Mapping[str, Any]) -> Text:
    """How many findings break a promise, `-` where no audit is known."""
    drift = one["drift"]
    return Text("-") if drift is None else Text(str(drift), style="bold red" if drift else "green")


def _threads(observed: Mapping[str, Any], *, running: bool) -> list[RenderableType]:
    """Every thread as the agent saw it, with the time. Threads of a server that does not run are not judged.

    A dot marks a thread without a recorded place. A vCPU without one is wrong: the record is for fewer vCPUs.
    """
    table = Columns("class", "thread", "tid", "may run on" if running else "might run on", "recorded", "")
    for thread in sorted(observed["threads"], key=lambda thread: (thread["thread_class"] != "vcpu", thread["vcpu"] or 0, thread["tid"])):
        kind = f"vcpu {thread['vcpu']}" if thread["vcpu"] is not None else thread["thread_class"]
        right = thread["allowed"] == thread["recorded"]
        mark = Text("✓", style="bold green") if right else Text("✗", style="bold red")
        if not thread["recorded"] and thread["thread_class"] != ThreadClass.VCPU.value:
            mark = Text("·", style="dim")
        nothing = "by libvirt" if thread["thread_class"] == ThreadClass.THREAD_CONTEXT.value else "nothing"
        place = thread["recorded"] or nothing
        table.add_row(kind, thread["name"], str(thread["tid"]), thread["allowed"], place, mark if running else Text())
    if not running:
        when = moment(observed["reported"]) if observed["reported"] else "a time that was not kept"
        words = f"  not known to run now; these threads were last reported at {when}; witness: {observed['witness']}"
        return [Text(words, style="yellow"), Padding(table, (0, 0, 0, 2), expand=False)]
    hangs = [f"the guest hangs: {observed['hangs']}"] if observed.get("hangs") else []
    drift = [Text(f"✗ {sentence}", style="bold red") for sentence in (*hangs, *observed["drift"])]
    return [
        Padding(table, (0, 0, 0, 2), expand=False),
        Text(),
        *drift,
        Text(f"  as its agent last saw it; witness: {observed['witness']}", style="dim"),
    ]


def _refusals(refusals: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Each host, with the revision of the decision if it was one, and below it what the host lacks, or why the start failed there."""
    lines: list[RenderableType] = []
    for refusal in refusals:
        revision = refusal.get("revision")
        at = "" if revision is None else f", at revision {revision}"
        if refusal.get("host"):
            lines.append(Text.assemble(f"  {refusal['host']}", (at, "dim")))
        sentences = [reason["sentence"] for reason in refusal.get("reasons", ())] or [refusal["sentence"]]
        lines += [Padding(Text(sentence), (0, 0, 0, 4)) for sentence in sentences]
    return lines


def _status(server: Mapping[str, Any]) -> Text:
    task = server["OS-EXT-STS:task_state"]
    status = server["status"]
    return Text(status if task is None else f"{status}, {task}", style=_STYLES.get(status, ""))
