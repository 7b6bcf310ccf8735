"""`pinfold simulate`: the screen, the document, and what is said about wrong options."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from tests.cli.conftest import Pinfold

from pinfold.cli.simulate import lines_of_progress

TRACES = Path(__file__).parents[2] / "benchmarks" / "packing" / "traces"
SMALL = ("simulate", "--hosts", "3", "--host-text", "cell:2 core:8 mem:65536", "--mix", "small", "--pool", "1")


def test_the_screen_has_a_line_for_each_policy_the_seed_and_a_sentence(pinfold: Pinfold) -> None:
    answer = pinfold(*SMALL)
    assert (answer.status, answer.err) == (0, "")
    said = " ".join(answer.out.split())
    assert "3 hosts, mix small, strategy least-loss, seed 1" in said
    assert "share with 1 pCPU" in said
    assert "2-vCPU guests than isolate on this fleet" in said


def test_the_document_repeats_what_was_asked_and_the_churn(pinfold: Pinfold) -> None:
    answer = pinfold(*SMALL, "--policy", "share", "--churn", "20", "--seed", "5", "--strategy", "pack", "--json")
    assert answer.status == 0, answer.err
    found = json.loads(answer.out)
    assert (found["hosts"], found["seed"], found["strategy"]) == (3, 5, "pack")
    (one,) = found["results"]
    assert one["setting"] == {"policy": "share", "pool_pcpus": 1}
    assert len(one["churn"]) == 21


def test_a_load_without_arrivals_and_departures_is_refused(pinfold: Pinfold) -> None:
    answer = pinfold(*SMALL, "--load", "0.5")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == "pinfold: --load says how full the fleet is during --churn, which is not given; give both, or neither\n"


def test_the_production_traces_can_be_placed(pinfold: Pinfold, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("".join((TRACES / "hosts.csv").read_text().splitlines(keepends=True)[:5]))
    answer = pinfold(
        "simulate", "--fleet", str(hosts), "--requests", str(TRACES / "c1.csv"), "--policy", "unset", "--reserve", "0", "--json"
    )
    assert answer.status == 0, answer.err
    assert json.loads(answer.out)["hosts"] == 4


def test_the_commands_of_the_how_to_answer(pinfold: Pinfold) -> None:
    page = (TRACES.parents[2] / "docs" / "how-to" / "simulate-a-fleet.md").read_text()
    commands = [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("pinfold simulate")]
    assert len(commands) == 4
    for command in commands:
        if "--fleet" not in command:  # the whole traces take too long here
            answer = pinfold(*command)
            assert (answer.status, "warning" in answer.err) == (0, False)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_tables_fold_no_number_on_a_narrow_screen(
    pinfold: Pinfold, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, columns: int
) -> None:
    fleet, requests = tmp_path / "f.csv", tmp_path / "r.csv"
    fleet.write_text("cell0_pcpus,cell0_gib\n32,48\n4,48\n")
    requests.write_text("vcpus,memory_gib\n16,24\n200,4\n1,2\n")
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = pinfold("simulate", "--fleet", str(fleet), "--requests", str(requests), "--hosts", "120", "--reserve", "0", "--pool", "16")
    lines = answer.out.splitlines()
    assert lines[0].startswith("120 hosts, requests file")
    assert [" ".join(line.split()) for line in lines if line.startswith("share with 16 pCPUs ")] == [
        "share with 16 pCPUs 60 960 112 / 952 120 / 960 1",
        "share with 16 pCPUs 960 0 0 -",
    ]


def test_where_standard_error_is_no_terminal_there_is_a_line_of_progress_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter((0.0, 1.0, 5.5, 5.5, 6.0, 10.5, 10.5))
    notice = lines_of_progress(lambda: next(now))
    for done in (10, 40, 50, 70):
        notice("isolate", done, 100)
    assert capsys.readouterr().err.splitlines() == ["pinfold: isolate: 40 %", "pinfold: isolate: 70 %"]


def test_the_rates_and_the_shared_fraction_of_a_configuration_decide_how_many_guests_share_a_pool(pinfold: Pinfold, tmp_path: Path) -> None:
    options = ("simulate", "--hosts", "1", "--host-text", "core:100 mem:262144", "--mix", "small", "--policy", "share", "--pool", "1")

    def guests(text: str) -> int:
        file = tmp_path / "pinfold.conf"
        file.write_text(text)
        answer = pinfold(*options, "--rates", str(file), "--json")
        assert answer.status == 0, answer.err
        return int(json.loads(answer.out)["results"][0]["full"]["guests"])

    usual = json.loads(pinfold(*options, "--json").out)["results"][0]["full"]["guests"]
    assert usual == 22, "44 of 1,000 millicpu for each"
    assert guests("") == usual
    assert guests("[overhead]\nguest_millicpu = 76\n") == 10
    assert guests("[compute]\ncpu_shared_set = 0-3\n") == 11, "half of each pCPU counts"
    assert guests("[compute]\ncpu_shared_set = 0-3\n[overhead]\nshared_fraction = 0.2\n") == 4
    assert guests("[compute]\ncpu_shared_set = 0-3\ncpu_overhead_set = 4\n[overhead]\nshared_fraction = 0.2\n") == 22
    assert guests("[overhead]\nbooking = report\n") == 48


def test_what_is_ignored_and_left_out_is_said_on_standard_error_and_in_the_document(pinfold: Pinfold, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("vcpus,memory_gib,guest_cell\n2,4,1\n200,4,1\n")
    options = (*SMALL[:5], "--requests", str(file), "--pool", "1")
    answer = pinfold(*options)
    assert answer.status == 0
    first, second = answer.err.splitlines()
    assert first == f"pinfold: warning: requests file {file}: the column 'guest_cell' is ignored; perhaps guest_cells is meant"
    assert f"{file}, line 3: a guest of 200 vCPUs, 4 GiB, 1 cell fits on no host of this fleet" in second
    told = pinfold(*options, "--json")
    assert told.err == ""
    assert [f"pinfold: warning: {sentence}" for sentence in json.loads(told.out)["warnings"]] == [first, second]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--mix", "tiny"), "--mix 'tiny' is not allowed; small, mixed or large is"),
        (("--policy", "share,all"), "--policy 'all' is not allowed; unset, share or isolate is"),
        (("--pool", "1,0"), "--pool has '0', numbers of pCPUs from 1 to 1024 are allowed"),
        (
            ("--policy", "share", "--pool", "95"),
            "a host of 96 pCPUs cannot reserve 2 and have an overhead pool of 95: none is left for vCPUs",
        ),
        (("--strategy", "best"), "--strategy 'best' is not allowed; least-loss, pack or spread is"),
        (("--requests", "/absent.csv"), "requests file /absent.csv cannot be read"),
        (("--fleet", "/absent.csv"), "fleet file /absent.csv cannot be read"),
        (("--fleet", "/absent.csv", "--host-text", "core:4"), "--fleet and --host-text both describe hosts; one of them is allowed"),
        (("--host-text", "core:x"), "host text"),
        (("--host-text", "pack:2 core:24 pu:2"), "host text 'pack:2 core:24 pu:2' names no memory; add mem: with the MiB of each cell"),
        (("--mix", "small", "--requests", "/absent.csv"), "--mix and --requests both describe guests; one of them is allowed"),
        (("--hosts", "0"), "--hosts '0' is not allowed; a whole number from 1 to 100000 is"),
    ],
)
def test_a_wrong_option_is_named(pinfold: Pinfold, options: tuple[str, ...], sentence: str) -> None:
    answer = pinfold("simulate", *options)
    assert answer.status == 2
    assert sentence in " ".join(answer.err.split())
