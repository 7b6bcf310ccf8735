"""`pinfold bench latency`: the screen, and what is said about wrong options. `tests/real/host/test_bench_latency.py` measures."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace
from rich.console import Console
from tests.cli.conftest import Pinfold

from pinfold.cli.bench import progress, warn_of, warn_of_others, warn_of_short_rounds
from pinfold.cli.views.latency import latency_view
from pinfold.core.usage import Times
from pinfold.latency.figures import medians
from pinfold.latency.model import LatencyResult, NotStarted, Pcpus, Sample, ThreadShares, Trial
from pinfold.latency.threads import pinned_here
from pinfold.linux.schedstat import MachineThread


def _sample(policy: str, late: int) -> Sample:
    shares = ThreadShares(run_percent=50.0, wait_percent=late / 1e6, slices=5)
    return Sample(
        accelerator="kvm",
        load="storm",
        policy=policy,
        seconds=2.0,
        monitor_ms=(1.0, 2.0),
        vcpu=shares,
        overhead=shares,
        instead=(("cc1", 3.0),),
        watched_seconds=2.0,
        stolen_us=10,
        gap_max_ns=late,
        late_max_ns=late,
        late=((0, 95), (late, 5)),
        gaps=((late, 4),),
    )


def _result(*samples: Sample) -> LatencyResult:
    refused = NotStarted(accelerator="kvm", load="storm", policy="float, FIFO", run=0, refused="Operation not permitted")
    return LatencyResult(
        pcpus=Pcpus(vcpu=7, overhead=3),
        accelerator="kvm",
        load_average=0.5,
        seconds=2.0,
        runs=1,
        medians=medians(samples),
        not_started=(refused, refused),
        samples=samples,
    )


def test_the_screen_has_medians_ratios_who_ran_instead_and_what_did_not_start() -> None:
    result = _result(_sample("float", 8_000_000), _sample("share", 2_000_000))
    console = Console(width=80, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    for line in latency_view(result):
        console.print(line)
    said = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert said[0] == "KVM, the vCPU on pCPU 7, overhead threads of share on pCPU 3"
    assert "load policy >1ms/s >100us/s waits % others % p99 us worst ms monitor ms" in said
    assert "storm float 2 2 8 0.15 8,000 8 2" in said
    assert "storm share 2 2 2 2 2,000 2 2" in said
    text = " ".join(said)
    assert "storm, float / share: stalls over 1 ms 1; stalls over 100 us 1; vCPU waits 4; lateness p99 4; monitor median 1" in text
    assert "storm, share: cc1 0.15 %" in said
    assert said.count("storm, float, FIFO: did not start: Operation not permitted") == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--load", "storm,rain"), "--load 'rain' is not allowed; idle, storm, statistics, writes or migration is"),
        (("--virt-type", "xen"), "--virt-type 'xen' is not allowed; kvm or qemu is"),
        (("--vcpu-on", "0", "--overhead-on", "0"), "--vcpu-on and --overhead-on are both pCPU 0; two pCPUs are needed"),
        (("--vcpu-on", "8191"), "--vcpu-on is 8191; this process may use the pCPUs "),
    ],
)
def test_a_wrong_option_is_named(pinfold: Pinfold, options: tuple[str, ...], sentence: str) -> None:
    answer = pinfold("bench", "latency", *options, "--beside-guests")
    assert answer.status == 2
    assert sentence in " ".join(answer.err.split())


@pytest.mark.parametrize(("load", "warned"), [(90.04, True), (0.5, False)])
def test_a_machine_with_more_load_than_processors_is_warned_of(
    load: float, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    warn_of(load)
    said = "pinfold: warning: the load average is 90.0 on 2 processors, so the vCPU waits for other programs too\n"
    assert capsys.readouterr().err == (said if warned else "")


@pytest.mark.parametrize(("late", "warned"), [(43_000_000, True), (1_900_000, False)])
def test_other_programs_on_the_pcpu_are_warned_of(late: int, warned: bool, capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_others(_result(_sample("float", 90_000_000), _sample("share", late), _sample("share, FIFO", 90_000_000)))
    said = (
        "pinfold: warning: other programs ran up to 43 % of the time on pCPU 7 (storm, share, run 1), so these figures are not of overhead"
    )
    err = capsys.readouterr().err
    assert err.startswith(said) if warned else err == ""


def test_rounds_that_ended_too_soon_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    ended = replace(_sample("float", 1_000_000), outlasted=True)
    warn_of_short_rounds(_result(ended, _sample("share", 1_000_000)))
    assert "1 round of 2 ended before the threads were looked at" in capsys.readouterr().err
    warn_of_short_rounds(_result(_sample("share", 1_000_000)))
    assert capsys.readouterr().err == ""


def test_a_wrong_load_is_named_before_the_load_of_the_machine(pinfold: Pinfold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 99.0, 99.0))
    assert pinfold("bench", "latency", "--load", "rain", "--beside-guests").err.startswith("pinfold: --load 'rain' is not allowed")


def test_each_round_is_told_where_standard_error_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(2) as notice:
        notice(Trial(accelerator="kvm", load="storm", policy="float", seconds=1.0), 0)
        notice(Trial(accelerator="kvm", load="storm", policy="share", seconds=1.0), 0)
    assert capsys.readouterr().err == "pinfold: round 1 of 2: storm, float, run 1\npinfold: round 2 of 2: storm, share, run 1\n"


def test_a_pcpu_of_a_pinned_vcpu_is_known_and_one_of_a_floating_vcpu_is_free() -> None:
    own = os.sched_getaffinity(0)
    if len(own) < 2:
        pytest.skip("one pCPU")
    pcpu, tid = min(own), os.getpid()
    seen = {tid: MachineThread(5, "CPU 0/KVM", Times(), pcpu)}
    assert pinned_here(frozenset(own), seen) == {}
    os.sched_setaffinity(0, {pcpu})
    try:
        assert pinned_here(frozenset(own), seen) == {pcpu: 5}
        assert pinned_here(frozenset(own), {tid: MachineThread(5, "qemu-system-x86", Times(), pcpu)}) == {}
    finally:
        os.sched_setaffinity(0, own)
