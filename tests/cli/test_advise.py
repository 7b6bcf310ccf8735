"""`pinfold advise`: the screen and the document, from a journal with measured hours."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.cli.conftest import Pinfold
from tests.core.test_advice import QUIET, hour
from tests.core.test_flavor_costs import EVENT

from pinfold.config import load
from pinfold.core.overhead.hours import OverheadHour, ShapeHour
from pinfold.watch.journal import Journal, journal_path

HOURS = (*QUIET, hour(90, busy=0.6, delay_us=900), hour(91, busy=0.9, delay_us=5000, run=1.25))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o711)
    path = tmp_path / "pinfold.conf"
    path.write_text(f"[compute]\ncpu_shared_set = 0\n[pinfold]\nstate_dir = {tmp_path / 'state'}\n")
    return path


def keep(config: Path, hours: tuple[OverheadHour, ...], shapes: tuple[ShapeHour, ...] = ()) -> None:
    with closing(Journal(journal_path(load([str(config)], audits=True).settings), days=30, mib=1)) as journal:
        for one in hours:
            journal.add(one, [shape for shape in shapes if shape.begins == one.begins])


FLAVORS = [
    {"ID": "1", "Name": "rt.small", "VCPUs": 4, "Properties": {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}},
    {"ID": "2", "Name": "floating", "VCPUs": 2, "Properties": {}},
]


SENTENCES = """
Evidence: 26 measured hours; in the worst one overhead threads waited 5,000 us on average before they ran. 1 missed the target of 1,000 us.
pCPUs: 3. Load: 1.80 pCPUs (measured in the busiest of 26 hours).
The pool may be busy for 60% of the time (measured: the busiest of 26 hours that kept the target).
rates: guest_millicpu = 40, vcpu_millicpu = 4, disk_millicpu = 20, nic_millicpu = 20.
In each of 24 measured hours they book at least what guests ran. By differences between 1 shape of guests the evidence tells none of them;
the others keep their proportion to each other.
4 vCPUs, 1 disk, 1 NIC: ran 96 millicpu on average in 24 hours, books 96
flavors, from the guests that were measured; guests on a host of 64 pCPUs (assumed) with that flavor alone:
policy: one pCPU of the pool is enough for 6 such guests.
overhead: measured: the mean of guests of this shape in 24 hours.
share wait: measured: the mean of guests of this shape in 24 hours.
isolate wait: default from docs/benchmarks/overhead.md: at most that on a pCPU that one guest keeps as busy.
This keeps the delay target.
Guests book 2 pCPUs of the pool (10 guests (measured) book 96 millicpu each, of which the pool offers 0.5 of each pCPU),
or Placement refuses some. Take the larger number: 3.
""".strip().splitlines()


def test_every_number_comes_with_its_evidence(pinfold: Pinfold, config: Path) -> None:
    keep(config, HOURS, tuple(EVENT))
    answer = pinfold("advise", "--config", str(config), "--assume", "pcpus=64")
    assert answer.status == 0, answer.err
    said = " ".join(answer.out.split())
    for sentence in SENTENCES:
        assert sentence in said, said
    document = json.loads(pinfold("advise", "--delay-us", "6000", "--config", str(config), "--json").out)
    pool = document["pool"]
    assert (pool["pcpus"], pool["missed"], pool["rates"]["rates"]["guest"]) == (2, 0, 40)
    assert pool["busy_allowed"] == {
        "value": 0.9,
        "evidence": "measured",
        "source": "measured: the busiest of 26 hours that kept the target",
    }
    assert document["flavors"][0]["policy"] == "share"


def test_flavors_of_a_cloud_with_pinned_vcpus_are_compared(pinfold: Pinfold, config: Path, tmp_path: Path) -> None:
    keep(config, HOURS, tuple(EVENT))
    file = tmp_path / "flavors.json"
    file.write_text(json.dumps(FLAVORS))
    found = json.loads(pinfold("advise", "--config", str(config), "--flavor-json", str(file), "--json").out)
    (small,) = found["flavors"]
    assert (small["name"], small["booked_millicpu"], small["cpu"]["evidence"]) == ("rt.small", 96, "measured")
    assert found["flavors_from"] == str(file)


WIDE = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share", "hw:vif_multiqueue_enabled": "true"}


def test_each_queue_of_an_interface_counts_as_it_books(pinfold: Pinfold, config: Path, tmp_path: Path) -> None:
    file, own = tmp_path / "flavors.json", tmp_path / "flavors.toml"
    file.write_text(json.dumps([{"ID": "1", "Name": "wide", "VCPUs": 16, "Properties": WIDE}]))
    properties = "".join(f'"{key}" = "{value}"\n' for key, value in WIDE.items())
    own.write_text(f"[flavors.wide]\nvcpus = 16\nram = 64\n[flavors.wide.properties]\n{properties}")
    config.write_text(config.read_text() + f"flavors_file = {own}\n")
    booked = pinfold("nova", "flavors", "--config", str(config), "--flavor-json", str(file)).out
    assert "resources:CUSTOM_OVERHEAD_MILLICPU=222 " in booked
    assumed = ("--assume", "guests=60", "--assume", "cpu-per-guest=0.02")
    for source in (("--flavor-json", str(file)), ()):
        said = " ".join(pinfold("advise", "--config", str(config), *assumed, *source).out.split())
        assert "Guests book 27 pCPUs of the pool (60 guests (assumed) book 222 millicpu each" in said, said


def test_the_floating_vcpus_of_a_mixed_flavor_take_no_pcpu(pinfold: Pinfold, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "flavors.json"
    specs = {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-1"}
    file.write_text(json.dumps([{"ID": "1", "Name": "both", "VCPUs": 8, "Properties": specs}]))
    assumed = ("--assume", "guests=60", "--assume", "cpu-per-guest=0.02", "--assume", "busy=0.5", "--assume", "pcpus=252")
    found = json.loads(pinfold("advise", "--config", str(config), "--flavor-json", str(file), *assumed, "--json").out)
    (both,) = found["flavors"]
    assert (both["vcpus"], both["pinned"], both["share_guests"], both["isolate_guests"]) == (8, 2, 123, 84)


def test_a_flavor_with_queues_finds_the_hours_that_were_measured_of_its_guests(pinfold: Pinfold, config: Path, tmp_path: Path) -> None:
    keep(config, HOURS, tuple(replace(one, vcpus=16, nics=2 * 16) for one in EVENT))
    file = tmp_path / "flavors.json"
    file.write_text(json.dumps([{"ID": "1", "Name": "wide", "VCPUs": 16, "Properties": WIDE}]))
    found = json.loads(pinfold("advise", "--config", str(config), "--flavor-json", str(file), "--nics", "2", "--json").out)
    (wide,) = found["flavors"]
    assert (wide["nics"], wide["cpu"]["source"]) == (32, "measured: the mean of guests of this shape in 24 hours")


def test_assumptions_need_no_journal_and_say_what_they_are(pinfold: Pinfold, config: Path) -> None:
    answer = pinfold("advise", "--config", str(config), "--assume", "guests=40", "--assume", "cpu-per-guest=0.05", "--assume", "busy=0.5")
    assert answer.status == 0, answer.err
    said = " ".join(answer.out.split())
    assert "0 of 24 hours are measured, which is too little" in said
    assert "pCPUs: 4. Load: 2.00 pCPUs (40 guests (assumed) with 0.05 pCPUs each (assumed)). The pool may be busy for 50%" in said
    assert "rates: no advice: too little evidence: 0 of 24 hours are measured." in said
    wrong = pinfold("advise", "--config", str(config), "--assume", "guest=40")
    assert wrong.status == 2
    assert "did you mean guests?" in wrong.err


def test_the_flavors_file_is_used_where_there_is_one(pinfold: Pinfold, config: Path, tmp_path: Path) -> None:
    flavors = tmp_path / "flavors.toml"
    flavors.write_text('[flavors.tiny]\nvcpus = 1\nram = 64\n[flavors.tiny.properties]\n"hw:cpu_policy" = "dedicated"\n')
    config.write_text(config.read_text() + f"flavors_file = {flavors}\n")
    answer = pinfold("advise", "--config", str(config), "--assume", "guests=9", "--assume", "cpu-per-guest=2", "--assume", "pcpus=8")
    said = " ".join(answer.out.split())
    assert f"flavors, from {flavors}" in said
    assert "policy: with share it takes a pCPU of the pool or more. overhead: assumed." in said


def test_too_little_evidence_and_a_host_that_nobody_watched_are_said(pinfold: Pinfold, config: Path) -> None:
    answer = pinfold("advise", "--config", str(config))
    assert answer.status != 0
    assert "`pinfold watch` writes it" in " ".join(answer.err.split())
    keep(config, QUIET[:3])
    answer = pinfold("advise", "--config", str(config))
    assert answer.status == 0
    said = " ".join(answer.out.split())
    assert "Evidence: 3 of 24 hours are measured, which is too little." in said
    assert (
        "pCPUs: no advice: too little evidence: 3 of 24 hours are measured; assume guests, and vcpus or cpu-per-guest, for a first" in said
    )
    assert "flavors: none with pinned vCPUs" in said


def test_the_vcpus_of_a_guest_that_nobody_measured_may_be_assumed(pinfold: Pinfold, config: Path) -> None:
    """Then the rates say what it runs, and the answer has both numbers of the page: that of the delay target, and what is booked."""
    asked = ("--assume", "guests=50", "--assume", "vcpus=4", "--nics", "0")
    said = " ".join(pinfold("advise", "--config", str(config), *asked).out.split())
    assert "pCPUs: 3. Load: 1.90 pCPUs (50 guests (assumed) with 0.038 pCPUs each (configured))." in said
    assert "Guests book 4 pCPUs of the pool (50 guests (assumed) book 38 millicpu each, of which the pool offers 0.5 of each pCPU)" in said
    assert "Take the larger number: 4." in said and "flavors, from what is assumed" in said
    config.write_text(config.read_text().replace("cpu_shared_set = 0", "cpu_overhead_set = 0-3"))
    apart = json.loads(pinfold("advise", "--config", str(config), *asked, "--json").out)
    assert (apart["pool"]["pcpus"], apart["booked_pcpus"]["value"]) == (3, 2)


def test_fewer_guests_than_are_assumed_are_said_where_their_pcpus_are_too_few(pinfold: Pinfold, config: Path) -> None:
    asked = ("advise", "--config", str(config), "--assume", "guests=50", "--assume", "vcpus=4")
    config.write_text("[compute]\ncpu_overhead_set = 0-3\ncpu_dedicated_set = 4-63\n")
    said = " ".join(pinfold(*asked).out.split())
    short = (
        "The host holds 15 such guests, fewer than the 50 that are assumed: 60 pCPUs of the dedicated pool (configured), 4 for each guest."
    )
    assert short in said
    config.write_text("[compute]\ncpu_overhead_set = 0-3\ncpu_dedicated_set = 8-255\n")
    assert "fewer than" not in pinfold(*asked).out


def test_the_example_of_the_page_is_possible_and_says_what_the_page_says(pinfold: Pinfold, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "size-the-overhead-pool.md").read_text()
    (file,) = re.findall(r"^```ini\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^pinfold (advise --config example\.conf .*)$", page, re.MULTILINE)
    (tmp_path / "example.conf").write_text(file)
    said = " ".join(pinfold(*line.replace("example.conf", str(tmp_path / "example.conf")).split()).out.split())
    assert "pCPUs: 3." in said and "Guests book 3 pCPUs of the pool" in said and "fewer than" not in said
    assert all(f"`{sentence}`" in page for sentence in ("pCPUs: 3", "Guests book 3 pCPUs of the pool"))


def test_what_all_flavors_share_is_said_once(pinfold: Pinfold, config: Path, tmp_path: Path) -> None:
    flavors = [{**FLAVORS[0], "ID": str(size), "Name": f"rt.{size}", "VCPUs": size} for size in (2, 4, 200)]
    (tmp_path / "flavors.json").write_text(json.dumps(flavors))
    asked = ("--flavor-json", str(tmp_path / "flavors.json"), "--assume", "guests=9", "--assume", "busy=0.4")
    said = " ".join(pinfold("advise", "--config", str(config), *asked).out.split())
    assert said.count("by the rates of [overhead], which are estimates") == 1
    assert "policy of rt.200: with share it takes a pCPU of the pool or more." in said
    assert said.count("share wait") == 1


@pytest.mark.parametrize("other", [("--service",), ("--cloud", "east"), ("--assume", "vcpus=2")])
def test_one_option_says_which_guests_the_answer_is_about(pinfold: Pinfold, config: Path, other: tuple[str, ...]) -> None:
    answer = pinfold("advise", "--config", str(config), "--flavor-json", "flavors.json", *other)
    assert answer.status == 2 and "each say which guests the answer is about; give one of them" in " ".join(answer.err.split())
