"""A real agent, as root, at the mercy of a service that lies to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.real.fleet.liar import Victim
from tests.real.patience import until
from tests.rig.processes import defined, domains


def test_the_report_of_a_host_has_its_address_towards_the_service(victim: Victim) -> None:
    assert dict(victim.liar.hello["report"]["facts"])["host_ip"] == "127.0.0.1"


def test_an_order_with_a_path_for_an_id_deletes_nothing_and_holds_up_no_other_order(victim: Victim, probe_rom: Path) -> None:
    liar, precious = victim.liar, {}
    for path in (victim.state / "overlays/other.qcow2", victim.state / "other.qcow2", victim.state / "overlays/other.starting"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"precious")
        precious[path] = path.stat().st_ino
    liar.image, ids = probe_rom.read_bytes(), ["../other", f"{victim.state}/other", "../../other", "..", "%2e%2e/other"]
    good = liar.wanted("probe")
    removals = [liar.wanted("", guest=guest, desired="absent") for guest in ids]
    damaged = liar.wanted("probe")
    damaged["claim"]["fit"] = {"vcpus": 2**62}
    liar.order(*removals, damaged, good, tombstones=tuple({"guest": guest, "revision": 9} for guest in ids))

    until(lambda: good["guest"] in domains(victim.lab), "the good order is carried out")
    until(lambda: "tombstone 5" in victim.agent.errors(), "the last one is refused")
    said = victim.agent.errors()
    for index in range(1, 7):
        assert f"order {index} " in said
    assert f"order 6 for guest {damaged['guest']} in the service's answer is refused: " in said
    liar.order({**good, "desired": "absent"})
    until(lambda: not defined(victim.lab), "the good order's guest is removed")
    assert {path: path.stat().st_ino for path in precious} == precious
    assert not [path for _, path, _ in liar.heard if "other" in path or ".." in path]
    assert victim.agent.end() == 0


@pytest.mark.parametrize(("suffix", "said"), [("/../../x", "the service named the suffix"), (".qcow2", "names another file")])
def test_an_image_that_reaches_for_other_files_is_not_booted(victim: Victim, tmp_path: Path, suffix: str, said: str) -> None:
    secret, image = tmp_path / "secret", tmp_path / "image.qcow2"
    secret.write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(image)], check=True)
    victim.liar.image, victim.liar.suffix = image.read_bytes(), suffix
    order = victim.liar.wanted("borrowed")
    victim.liar.order(order)
    until(lambda: victim.liar.failure(order["guest"]), "the start fails")
    assert said in victim.liar.failure(order["guest"])
    assert list((victim.state / "fetched").iterdir()) == []
