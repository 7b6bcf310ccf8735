"""The reference is what the code says, and nothing is missing from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docs.command_tree import tree
from docs.form_meanings import MEANINGS
from docs.form_page import FORMS
from docs.generate import FOLDER, pages, stale
from fastapi.routing import APIRoute

from pinfold.accounting import resources
from pinfold.api.app import ROUTERS
from pinfold.api.errors import CODES
from pinfold.api.metrics import METRICS, PROCESS_METRICS
from pinfold.cli.exit_status import ExitStatus
from pinfold.config.options import GROUPS, REFUSED
from pinfold.core.drift.finding import FindingCode
from pinfold.core.form_schema import schema
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.key_table import REGISTRY
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.traits import OWN_TRAITS
from pinfold.drivers.checkup import Check, Health
from pinfold.watch.metrics import METRICS as OF_WATCH


def _page(name: str) -> str:
    return Path(FOLDER / name).read_text(encoding="utf-8")


def test_no_page_is_missing_or_stale() -> None:
    assert stale() == [], "run `make docs` and commit what it writes"


def test_a_page_that_differs_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docs.generate.FOLDER", tmp_path)
    for name, text in pages().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "reasons.md").write_text("# Reasons\n", encoding="utf-8")
    (tmp_path / "findings.md").unlink()
    assert stale() == ["reasons.md", "findings.md"]


def test_every_option_is_in_the_reference() -> None:
    page = _page("configuration.md")
    for group in GROUPS:
        section = page.split(f"## [{group.name}]\n")[1].split("\n## ")[0]
        for opt in group.options:
            assert f"| `{opt.name}` |" in section, f"[{group.name}] {opt.name}"
            assert opt.help, f"[{group.name}] {opt.name} has no help"
    for refused in REFUSED:
        assert f"| `[{refused.group}] {refused.name}` |" in page


def test_every_extra_spec_is_in_the_reference() -> None:
    page = _page("extra-specs.md")
    for key in REGISTRY:
        assert f"| `{key.name}` |" in page
        assert not key.image or f"`{key.image}`" in page


def test_every_field_of_every_written_form_has_its_meaning_in_the_reference() -> None:
    described = dict(_objects([schema(one) for _, types, _ in FORMS for one in types]))
    assert {title: set(fields) for title, fields in MEANINGS.items()} == described
    page = _page("forms.md")
    for title, _, _ in FORMS:
        assert f"\n## {title}\n" in page
    for title in set(re.findall(r"\]\(#([a-z-]+)\)", page)):
        assert re.search(rf"^##+ {title}$", page, re.MULTILINE | re.IGNORECASE), title


def _objects(found: Any) -> Iterator[tuple[str, set[str]]]:
    """The title and the fields of each object in a schema."""
    if isinstance(found, dict) and "title" in found and "properties" in found:
        yield found["title"], set(found["properties"])
    for one in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from _objects(one)


def test_every_reason_and_every_finding_is_in_the_reference() -> None:
    for reason in ReasonCode:
        assert f"| `{reason.value}` |" in _page("reasons.md")
    for finding in FindingCode:
        assert f"| `{finding.value}` |" in _page("findings.md")


def test_every_check_of_the_host_is_in_the_reference() -> None:
    for check in Check:
        assert f"| `{check.value}` |" in _page("checks.md")
    for health in Health:
        assert f"| `{health.value}` |" in _page("checks.md")


def test_every_command_option_and_exit_status_is_in_the_reference() -> None:
    page = _page("commands.md")
    guest = page.split("### What describes a guest\n")[1].split("\n## ")[0]
    for path, command in tree():
        section = page.split(f"## pinfold {path}\n")[1].split("\n## ")[0]
        section += guest if "(#what-describes-a-guest)" in section else ""
        assert (command.help or "").strip(), f"pinfold {path} has no help"
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name not in ("help", "install_completion", "show_completion"):
                assert parameter.opts[0] in section, f"pinfold {path} {parameter.opts[0]}"
                assert parameter.help, f"pinfold {path} {parameter.opts[0]} has no help"
    for status in ExitStatus:
        assert f"| {status.value} |" in page


def test_an_option_that_many_commands_take_is_described_once() -> None:
    page = _page("commands.md")
    for option in ("--json", "--config FILE", "--connect, -c URI", "--flavors FILE"):
        assert page.count(f"| `{option}` |") == 1, option


def test_every_command_takes_json() -> None:
    without = [path for path, command in tree() if not any("--json" in parameter.opts for parameter in command.params)]
    assert without == []


def test_every_policy_is_in_the_reference() -> None:
    page = _page("policies.md")
    for policy in EmulatorPolicy:
        assert policy.value in page


def test_every_route_metric_class_trait_and_error_code_is_in_the_reference() -> None:
    routes = _page("routes.md")
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                assert f"| `{route.path}` |" in routes
                assert (route.endpoint.__doc__ or "").strip(), f"{route.path} says nothing"
    for name in CODES.values():
        assert f"`{name}`" in routes
    for metric in (*METRICS, *PROCESS_METRICS, *OF_WATCH):
        assert f"| `{metric}` |" in _page("metrics.md")
    for name in (resources.PCPU, resources.VCPU, resources.MEMORY_MB, resources.DISK_GB, resources.OVERHEAD, *OWN_TRAITS):
        assert f"| `{name}` |" in _page("placement.md")
