"""What the probe says is read as it is, threads are told apart, and the page states every load that was measured."""

from __future__ import annotations

import msgspec
from benchmarks.consolidation.page import CONSOLIDATION, knee
from benchmarks.consolidation.trials import lines
from benchmarks.latency.page import LATENCY
from benchmarks.plot import Plot
from benchmarks.summary import text
from msgspec.structs import replace

from pinfold.core.usage import Times
from pinfold.latency.figures import COMPARED, LEAST, asleep_percent, others_percent, ratio, who_ran
from pinfold.latency.guest import tsc_khz
from pinfold.latency.model import OF_THE_GUEST, Sample, ThreadShares
from pinfold.latency.serial import added, bucket_start_ns, over, parse, quantile
from pinfold.latency.threads import changed, instead, shares
from pinfold.linux.schedstat import MachineThread

SAID = """PROBE-UP behaviour=3
ROUND 0 cycles=42 loops=9 gaps=2 stolen_us=1500 gap_max_ns=1400000 late_max_ns=1300000 ios=4 io_us=80
L 40 98
L 176 2
G 176 1
W 3 1400
END
PROBE-DONE
"""


def test_a_round_is_read_whole_or_not_at_all() -> None:
    assert parse(SAID.partition("END")[0]) is None
    found = parse(SAID)
    assert found is not None
    assert (found.stolen_us, found.ios, found.io_us, found.worst_us) == (1500, 4, 80, {3: 1400})
    assert quantile(found.late, 0.5) == 128
    assert quantile(found.late, 0.99) == 16_777_216
    assert over(found.gaps, 1_000_000) == 1
    assert added([found.gaps, found.gaps]) == {16_777_216: 2}


def _thread(pid: int, name: str, run_ns: int, wait_ns: int, slices: int, pcpu: int) -> MachineThread:
    return MachineThread(pid, name, Times(run_ns=run_ns, wait_ns=wait_ns, slices=slices), pcpu)


def test_what_changed_tells_the_vcpu_from_the_overhead_threads_and_from_others() -> None:
    before = {1: _thread(9, "CPU 0/KVM", 100, 10, 1, 1), 2: _thread(9, "qemu-system-x86", 0, 0, 0, 0)}
    after = {
        1: _thread(9, "CPU 0/KVM", 500_000_100, 250_000_010, 5, 1),
        2: _thread(9, "qemu-system-x86", 100_000_000, 0, 3, 1),
        3: _thread(7, "cc1", 40_000_000, 0, 1, 1),
        4: _thread(7, "make", 90_000_000, 0, 1, 0),
    }
    change = changed(before, after)
    vcpu = shares(change, 9, 1.0, vcpus=True)
    assert (vcpu.run_percent, vcpu.wait_percent, vcpu.slices) == (50.0, 25.0, 4)
    assert shares(change, 9, 1.0, vcpus=False).run_percent == 10.0
    assert instead(change, 1, 9) == [("qemu-system-x86 of the guest", 100.0), ("cc1", 40.0)]


def test_a_thread_id_that_was_given_anew_counts_from_its_start() -> None:
    change = changed({1: _thread(9, "old", 900, 0, 1, 0)}, {1: _thread(9, "new", 100, 0, 1, 0)})
    assert change[1].times.run_ns == 100


def test_the_frequency_is_libvirts() -> None:
    assert tsc_khz("<cpu><counter name='tsc' frequency='2095078000' scaling='yes'/></cpu>") == 2_095_078


def _sample(policy: str, run: int, late: int) -> dict[str, object]:
    shares = {"run_percent": 50.0, "wait_percent": late / 1e6, "slices": 5}
    return {
        "accelerator": "kvm",
        "load": "storm",
        "policy": policy,
        "seconds": 2.0,
        "run": run,
        "stolen_us": 10,
        "gap_max_ns": late,
        "late_max_ns": late,
        "late": [[100, 95], [late, 5]],
        "gaps": [[late, 5]],
        "worst_us": [] if run else [[0, 5], [60, late // 1000]],
        "monitor_ms": [1.0, 2.0],
        "vcpu": shares,
        "overhead": shares,
        "instead": [["cc1", 3.0]],
        "watched_seconds": 2.0,
        "operations": 4,
        "kick_us": None,
    }


def test_the_page_has_ratios_plots_and_says_what_did_not_start() -> None:
    samples = [_sample(policy, run, late) for run in (0, 1) for policy, late in (("float", 8_000_000), ("share", 2_000_000))]
    refused = {"accelerator": "kvm", "load": "storm", "policy": "float, FIFO", "run": 0, "refused": "Operation not permitted"}
    body = LATENCY.page({"seconds": 2.0, "runs": 2, "samples": [*samples, refused]}).body
    lines = [part for part in body if isinstance(part, str)]
    assert "| storm | lateness p99 | 4 | 45x |" in lines
    assert "- storm, float, FIFO: did not start: Operation not permitted" in lines
    assert "| storm | share | cc1 0.15 |" in lines
    assert [part.name for part in body if isinstance(part, Plot)] == [
        "latency-kvm-storm",
        "latency-kvm-heat-float",
        "latency-kvm-heat-share",
    ]


def test_guests_that_pinfold_started_have_ratios_of_their_own() -> None:
    samples = [_sample(policy, 0, late) for policy, late in (("pinfold, unset", 8_000_000), ("pinfold, share", 2_000_000))]
    body = LATENCY.page({"seconds": 2.0, "runs": 1, "samples": samples}).body
    assert "| storm, started by pinfold | vCPU waits | 4 | 11.6x |" in body


def test_a_trial_is_told_with_both_of_its_settings_and_one_that_was_not_made_with_its_reason() -> None:
    settings = (("one pool of two pCPUs", 20.0), ("a pool of one pCPU for each load", 30.0))
    rows = [{"trial": "pools", "load": "chatty", "setting": name, "run": run, **_row(wait)} for run in (0, 1) for name, wait in settings]
    said = "\n".join(lines({"each": 3, "seconds": 1.0, "runs": 2, "rows": rows}))
    assert "- pools: two pools by load. chatty: wait per slice 20 to 30 us, monitor p99 2 to 2 ms." in said
    assert "- weight: not tried, for want of the cpu controller of cgroup v1." in said


def _row(wait: float) -> dict[str, float]:
    return {"busy_percent": 1.0, "wait_percent": 1.0, "wait_us": wait, "monitor_p50_ms": 1.0, "monitor_p99_ms": 2.0}


def _step(guests: int, busy: float, wait: float, mode: str = "chatty") -> dict[str, object]:
    rest = {"wait_percent": 1.0, "start_seconds": 0.2, "monitor_p50_ms": 1.0, "monitor_p99_ms": 2.0}
    return {"mode": mode, "guests": guests, "busy_percent": busy, "wait_us": wait, **rest}


def test_the_knee_is_the_last_step_before_the_wait_grows_steeply() -> None:
    rows = [_step(1, 5, 4), _step(4, 20, 6), _step(8, 60, 15), _step(16, 95, 90)]
    assert knee(rows) == "8 guests, 60 % busy; with 16 a thread waits 90 us"
    assert knee(rows[:3]) == "not reached with 8 guests, 60 % busy"


def test_one_step_that_happens_to_wait_little_makes_no_knee() -> None:
    rows = [_step(1, 2, 1), _step(4, 8, 24), _step(8, 16, 24), _step(16, 37, 36)]
    assert knee(rows) == "not reached with 16 guests, 37 % busy"


def test_coefficients_come_from_what_a_disk_adds_to_an_idle_guest() -> None:
    rows = [_step(10, 1, 1, "idle"), _step(10, 11, 1), _step(10, 41, 1, "heavy")]
    body = CONSOLIDATION.page({"seconds": 1.0, "rows": rows}).body
    assert "- `guest_millicpu`: an idle guest ran 1.0." in body
    assert "- `disk_millicpu`: a chatty disk added 10.0, 100 for each 1,000 batches a second." in body


def test_the_summary_has_five_figures_and_what_pinfold_takes_each_with_its_page() -> None:
    rows = [line for line in text().splitlines() if line.startswith("| ") and (".md)" in line or "`make bench-" in line)]
    assert len(rows) == 5 + 6


def test_the_summary_says_what_other_loads_and_fleets_gave() -> None:
    _, _, below = text().partition("## Other loads")
    loads, _, fleets = below.partition("## Other fleets")
    assert [line.split(" | ")[0] for line in loads.splitlines() if line.startswith("| ")] == [
        "| load",
        "| idle",
        "| storm",
        "| statistics",
        "| writes",
        "| migration",
        "| storm, started by pinfold",
        "| storm, an emulated guest",
    ]
    assert sum(line.startswith("| ") for line in fleets.partition("## What pinfold")[0].splitlines()) == 1 + 6


def _measured(policy: str, wait: float, instead: tuple[tuple[str, float], ...] = ()) -> Sample:
    shares = ThreadShares(run_percent=60.0, wait_percent=wait, slices=5)
    return msgspec.convert(
        {**_sample(policy, 0, 100), "vcpu": msgspec.to_builtins(shares), "instead": instead, "watched_seconds": 2.0}, Sample
    )


def test_others_are_what_the_vcpu_waits_for_with_share_and_what_was_seen_there_with_float() -> None:
    ran = ((f"qemu-system-x86{OF_THE_GUEST}", 900.0), ("cc1", 60.0), ("make", 40.0))
    assert others_percent(_measured("share", 3.0)) == others_percent(_measured("pinfold, share", 3.0)) == 3.0
    assert others_percent(_measured("float", 45.0, ran)) == others_percent(_measured("pinfold, unset", 45.0, ran)) == 5.0
    assert others_percent(_measured("float", 1.0, ran)) == 1.0
    assert others_percent(_measured("share, FIFO", 5.0)) is None


def test_who_ran_adds_up_all_runs_and_leaves_out_what_hardly_ran() -> None:
    group = [_measured("float", 1.0, (("cc1", 60.0), ("ksoftirqd/1", 1.0))), _measured("float", 1.0, (("make", 90.0), ("cc1", 20.0)))]
    assert who_ran(group) == [("make", 2.25), ("cc1", 2.0)]


def test_a_vcpu_that_neither_runs_nor_waits_is_asleep() -> None:
    assert asleep_percent(_measured("share", 5.0)) == 35.0
    assert asleep_percent(replace(_measured("share", 5.0), outlasted=True)) is None


def test_no_ratio_has_a_denominator_that_is_below_what_the_measure_can_tell() -> None:
    for name, (least, _) in LEAST.items():
        said = ratio(1000 * least, least / 1000, *LEAST[name])
        assert said.startswith("> 1,000 (share below "), name
    assert set(LEAST) < set(COMPARED)


def test_bucket_starts_ascend() -> None:
    starts = [bucket_start_ns(bucket) for bucket in range(400)]
    assert starts == sorted(set(starts))
