"""The map of a host, read as an operator would, on screens of 80 and 120 columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from msgspec import structs
from rich.console import Console
from rich.text import Text

from pinfold.cli.views.guests import guests_view
from pinfold.cli.views.host_map import host_map_view
from pinfold.cli.views.phrases import moment
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode, Subject, compare
from pinfold.core.fit.answer import Fit, Strategy
from pinfold.core.fit.engine import fit
from pinfold.core.host import Claim, Foreign, HostState, Ledger, Limits, Locality
from pinfold.core.host_map import HostMap, Observed, host_map
from pinfold.core.hosttext import host
from pinfold.core.load import HostLoad, Load
from pinfold.core.overhead import ObservedThread, ThreadClass, masks
from pinfold.core.pools import PoolConfig, build_pools
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.drawing.tiles import letters
from pinfold.drivers.port import DefinedPins, GuestState, HostGuest, NovaRecord, Observation, Record
from pinfold.host.map import map_of
from pinfold.host.survey import Survey, foreign
from pinfold.host.verify import Verdict

PINNED = {"hw:cpu_policy": "dedicated"}
SHARE = PINNED | {"hw:emulator_threads_policy": "share"}
ISOLATE = PINNED | {"hw:emulator_threads_policy": "isolate"}
CORES = ISOLATE | {"hw:cpu_thread_policy": "isolate"}


def survey(
    shape: str,
    shared: str,
    dedicated: str,
    asked: Sequence[tuple[int, dict[str, str]]],
    others: Sequence[HostGuest] = (),
    limits: Limits = Limits(reserved_memory_mib=0),
) -> Survey:
    """A host of that shape with one guest for each `(vCPUs, extra specs)`, placed by the engine in that order."""
    topology = host(shape)
    pools, _ = build_pools(PoolConfig(shared=CpuSet.parse(shared), dedicated=CpuSet.parse(dedicated)), topology)
    held = tuple(foreign(other, pools, topology) for other in others)
    claims: tuple[Claim, ...] = ()
    guests: list[HostGuest] = []
    for number, (vcpus, specs) in enumerate(asked):
        state = HostState(topology=topology, pools=pools, limits=limits, ledger=Ledger(claims=claims, foreign=held), name="c07")
        request = compile_request(Flavor(vcpus=vcpus, memory_mib=64, extra_specs=tuple(sorted(specs.items()))))
        placed = fit(request, state, Strategy.PACK)
        assert isinstance(placed, Fit), placed
        guest = f"{number:08x}-0000-4000-8000-000000000000"
        claims = (*claims, Claim(guest=guest, fit=placed))
        record = Record(guest=guest, policy=request.emulator_policy, fit=placed, flavor="rt")
        guests.append(HostGuest(id=guest, name=f"vm{number:02}", state=GuestState.RUNNING, vcpus=vcpus, memory_mib=64, record=record))
    state = HostState(topology=topology, pools=pools, limits=limits, ledger=Ledger(claims=claims, foreign=held), name="c07")
    return Survey(state=state, guests=(*guests, *others))


def drawn(seen: Survey, width: int) -> str:
    """The map as text, without blanks at the ends of lines."""
    screen = Console(width=width, highlight=False, markup=False, emoji=False)
    with screen.capture() as captured:
        for line in host_map_view(seen, map_of(seen), width):
            screen.print(line)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


STRANGER = HostGuest(
    id="ffffffff-0000-4000-8000-000000000000",
    name="instance-0001",
    state=GuestState.RUNNING,
    vcpus=2,
    memory_mib=64,
    pins=DefinedPins(vcpus=((0, CpuSet.of(30)), (1, CpuSet.of(31)))),
)


def test_every_pcpu_shows_its_pool_and_what_runs_there() -> None:
    shape = "pack:2 core:8 pu:2 far mem:16384 huge:2048x512"
    seen = survey(shape, "0-1,8-9,16-17,24-25", "2-7,10-15,18-23,26-31", [(4, SHARE), (2, ISOLATE), (2, CORES), (2, {})], [STRANGER])
    text = drawn(seen, 80)
    lines = text.splitlines()
    assert lines[0] == "c07: 2 sockets, 2 cells, 16 cores of 2 threads, 32 pCPUs"
    assert lines[1].startswith("D dedicated  2-7,10-15,18-23,26-31")
    assert "28 of 4,000 millicpu booked by 1 guest" in lines[3]
    rows = {line[:6].strip(): line for line in reversed(lines) if line.startswith("  ") and "│" in line}
    assert rows["pCPU"] == "  pCPU │  0 16│  1 17│  2 18│  3 19│  4 20│  5 21│  6 22│  7 23"
    assert rows["pool"] == "  pool │ SO SO│ SO SO│  D  D│  D  D│  D  D│  D  D│  D  D│  D  D"
    runs = " ".join(line for line in lines if line.startswith("  runs"))
    for mark in ("A0", "A1", "A2", "A3", "B0", "B1", "Be", "C0", "C1", "Ce", "C-", "x1", "ve", "·"):
        assert mark in runs, mark
    assert "x1  instance-0001  running" in text
    for words in (
        "A0 vCPU 0 of guest A",
        "Ae its emulator threads",
        "A- a sibling that it keeps idle",
        "x1 a guest that is not ours",
        "· free",
    ):
        assert words in text


def test_the_overhead_pool_has_a_line_for_each_cell_where_guests_book_their_own() -> None:
    local = Limits(reserved_memory_mib=0, locality=Locality.PREFER_LOCAL)
    text = drawn(survey("pack:2 core:4", "0,4", "1-3,5-7", [(2, SHARE)], limits=local), 80)
    assert (
        "O overhead       the shared pool  24 of 1,000 millicpu booked by 1 guest\n"
        "  of it, cell 0  0                24 of 500 millicpu booked\n"
        "  of it, cell 1  4                0 of 500 millicpu booked\n"
    ) in text
    assert "of it" not in drawn(survey("pack:2 core:4", "0,4", "1-3,5-7", [(2, SHARE)]), 80)


def test_cores_are_grouped_by_their_last_level_cache_where_a_cell_has_several() -> None:
    text = drawn(survey("pack:2 core:4 pu:2 far cache:2", "0-1,8-9", "2-7,10-15", [(2, SHARE), (1, ISOLATE)]), 80)
    assert text.splitlines()[0] == "c07: 2 sockets, 2 cells, 4 last-level caches, 8 cores of 2 threads, 16 pCPUs"
    assert (
        "  cache║ 0           ║ 1\n"
        "  pCPU ║  0  8│  1  9║  2 10│  3 11\n"
        "  pool ║ SO SO│ SO SO║  D  D│  D  D\n"
        "  runs ║  e  e│  e  e║ A0 A1│ B0 Be\n"
    ) in text


def test_a_cell_with_one_last_level_cache_is_drawn_as_without() -> None:
    one, none = (drawn(survey(f"pack:2 core:4 pu:2 far{cache}", "0-1,8-9", "2-7,10-15", [(2, SHARE)]), 80) for cache in (" cache:1", ""))
    assert "2 last-level caches, " in one
    assert one.replace("2 last-level caches, ", "") == none


@pytest.mark.parametrize("caches", [1, 2, 4, 16])
def test_512_pcpus_in_caches_of_any_size_stay_within_80_columns(caches: int) -> None:
    shape = f"pack:2 cell:4 core:32 pu:2 far cache:{caches} mem:65536"
    text = drawn(survey(shape, "0-1,256-257", "2-255,258-511", [(4, SHARE)] * 40), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert sorted(_pcpus_of(text)) == list(range(512))
    if caches > 1:
        assert f"  32 cores alike in {caches} last-level caches: pCPUs 128-159,384-415, pool D, runs ·" in text


def test_two_pcpus_need_few_lines() -> None:
    text = drawn(survey("core:2", "0", "1", [(1, SHARE)]), 80)
    assert "  pCPU │  0│  1\n  pool │ SO│  D\n  runs │  e│ A0\n" in text
    assert len(text.splitlines()) <= 15


@pytest.mark.parametrize("width", [80, 120])
def test_256_pcpus_stay_within_the_screen(width: int) -> None:
    asked = [(4, SHARE)] * 30 + [(6, ISOLATE)] * 3
    text = drawn(survey("pack:2 cell:4 core:16 pu:2 far mem:65536", "0-1,128-129", "2-127,130-255", asked), width)
    assert max(map(len, text.splitlines())) <= width
    assert sorted(_pcpus_of(text)) == list(range(256))
    assert "AG5" in text, "the 33rd guest's last vCPU"


def _pcpus_of(text: str) -> list[int]:
    """Every pCPU that the map names, in a column of its own or in the line of cores that are alike."""
    lines = text.splitlines()
    shown = [int(word) for line in lines if line.startswith("  pCPU") for word in line[6:].replace("│", " ").replace("║", " ").split()]
    alike = re.findall(r"cores alike[^:]*: pCPUs ([\d,-]+),", text)
    return [*shown, *(cpu for cpus in alike for cpu in CpuSet.parse(cpus))]


def test_512_pcpus_fit_on_two_screens_because_cores_that_are_alike_share_a_line() -> None:
    seen = survey("pack:2 cell:4 core:32 pu:2 far mem:65536", "0-1,256-257", "2-255,258-511", [(4, SHARE)] * 4)
    text = drawn(seen, 80)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 80, text
    assert sorted(_pcpus_of(text)) == list(range(512))
    assert "  32 cores alike: pCPUs 32-63,288-319, pool D, runs ·" in lines


def test_what_nobody_has_seen_is_drawn_as_unknown_and_not_as_free() -> None:
    topology = host("core:4")
    pools, _ = build_pools(PoolConfig(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("2-3")), topology)
    state = HostState(topology=topology, pools=pools, ledger=Ledger(foreign=(Foreign(name="other", cpus=CpuSet()),)), name="c07")
    lines = host_map_view(Survey(state=state, guests=()), host_map(state, Observed(names={})), 80)
    text = "\n".join(line.plain for line in lines if isinstance(line, Text))
    (runs,) = [line for line in text.splitlines() if line.startswith("  runs")]
    assert runs.replace("│", " ").split() == ["runs", "?", "?", "·", "·"]
    assert "? nobody has seen what runs there" in text


def test_drift_stands_below_the_map_with_its_repair() -> None:
    seen = survey("core:6", "0-1", "2-5", [(2, PINNED)])
    strayed = Finding(
        code=FindingCode.VCPU_THREAD,
        guest="vm00",
        tid=71,
        thread_class=ThreadClass.VCPU,
        recorded="3",
        observed="0-1",
        repair="taskset -pc 3 71",
    )
    screen = Console(width=120, highlight=False, markup=False, emoji=False)
    with screen.capture() as captured:
        screen.print(*host_map_view(seen, map_of(seen), 120, [strayed]), sep="\n")
    _, _, drift = captured.get().partition("1 place drifted:\n")
    assert "guest vm00: vCPU thread 71 () may run on 0-1, recorded is 3" in drift
    assert "repair: taskset -pc 3 71" in drift
    assert "first reported" not in drift
    with screen.capture() as captured:
        screen.print(*host_map_view(seen, map_of(seen), 120, [strayed], since=[1.8e9]), sep="\n")
    assert f"first reported at {moment(1.8e9)}" in captured.get()


def _strayed(seen: Survey) -> HostMap:
    """The map where the emulator threads of the second guest, and a process, may run on the first guest's pCPUs."""
    worker = Finding(
        code=FindingCode.EMULATOR_THREAD,
        guest="vm01",
        guest_id=seen.guests[1].id,
        tid=71,
        thread="worker",
        thread_class=ThreadClass.EMULATOR,
        recorded="0-1",
        observed="0-3",
    )
    make = Finding(code=FindingCode.FOREIGN_PROCESS, tid=812, thread="make", subject="process", recorded="0-1", observed="3")
    second = seen.guests[1]
    assert second.record is not None
    threads = (
        ObservedThread(tid=71, name="worker", thread_class=ThreadClass.EMULATOR, allowed=CpuSet.parse("0-3")),
        ObservedThread(tid=72, name="vhost-70", thread_class=ThreadClass.VHOST, allowed=CpuSet.parse("0-1")),
    )
    observation = Observation(threads=threads, witness="procfs")
    return map_of(seen, [Verdict(guest=second, masks=masks(second.record.fit), observation=observation, findings=(worker,))], [make])


def test_a_thread_that_strays_is_seen_on_the_pcpus_where_it_does_not_belong() -> None:
    seen = survey("core:8", "0-1", "2-7", [(2, SHARE), (2, SHARE)])
    text = "\n".join(str(line) for line in host_map_view(seen, _strayed(seen), 80))
    (runs,), (stray,) = ([line for line in text.splitlines() if line.startswith(f"  {row}")] for row in ("runs", "stray"))
    assert runs.replace("│", " ").split()[1:] == ["eh>", "eh>", "A0", "A1", "B0", "B1", "·", "·"]
    assert stray.replace("│", " ").split()[1:] == ["Be", "p+"]
    assert [stray.index("Be"), stray.index("p+")] == [runs.index("A0"), runs.index("A1")], "under the vCPUs that they disturb"
    assert "Be in the row stray: emulator threads of guest B, which may run there and belong elsewhere" in text
    assert "h their vhost threads" in text
    assert "stray" not in "\n".join(map(str, host_map_view(seen, map_of(seen), 80))), "agreement is quiet"


def test_where_samples_exist_the_map_says_which_pcpus_were_waited_for() -> None:
    seen = survey("core:6", "0-1", "2-5", [(2, PINNED)])
    load = HostLoad(ended=0.0, pcpus={0: Load(wait=700), 2: Load(wait=0, others=300)}, pools={}, guests={}, names={})
    screen = Console(width=80, highlight=False, markup=False, emoji=False)
    with screen.capture() as captured:
        screen.print(*host_map_view(seen, map_of(seen), 80, load=load), sep="\n")
    assert "waited for in the last minute: pCPU 0 (70 %)\n" in captured.get()
    assert "others than its owner ran in the last minute: pCPU 2 (30 %)\n" in captured.get()


def test_no_mark_means_two_guests() -> None:
    assert len({letters(position) for position in range(2000)}) == 2000


def test_a_host_without_pools_is_drawn_too() -> None:
    topology = host("core:4")
    pools, _ = build_pools(PoolConfig(), topology)
    text = drawn(Survey(state=HostState(topology=topology, pools=pools, name="c07"), guests=()), 80)
    assert "S shared     0-3   4 pCPUs, 0 floating vCPUs" in text
    assert "policy share floats over the guest's own pCPUs" in text


def test_cells_without_pcpus_and_offline_pcpus_are_named() -> None:
    topology = host("core:4 offline:3 / core:0 mem:1024")
    pools, _ = build_pools(PoolConfig(), topology)
    text = drawn(Survey(state=HostState(topology=topology, pools=pools, name="c07"), guests=()), 80)
    assert "offline 3" in text
    assert "no pCPUs" in text


def test_a_pcpu_with_two_owners_and_one_that_is_retiring_stand_out() -> None:
    twice = HostGuest(
        id="ffffffff-0000-4000-8000-000000000000",
        name="other",
        state=GuestState.RUNNING,
        vcpus=1,
        memory_mib=64,
        pins=DefinedPins(vcpus=((0, CpuSet.of(2)),)),
    )
    seen = survey("core:6", "0-1", "2-5", [(2, SHARE)])
    both = Survey(state=seen.state, guests=(*seen.guests, twice))
    assert "A!" in drawn(both, 80)
    assert "two owners" in drawn(both, 80)
    pools, _ = build_pools(PoolConfig(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("4-5")), seen.state.topology)
    shrunk = HostState(topology=seen.state.topology, pools=pools, ledger=seen.state.ledger, name="c07")
    text = drawn(Survey(state=shrunk, guests=seen.guests), 80)
    assert "R retiring" in text


def test_a_power_managed_host_says_what_is_off_and_for_whom() -> None:
    topology = host("core:8 offline:4-7")
    config = PoolConfig(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("2-7"), power_managed=True)
    pools, _ = build_pools(config, topology)
    stopped = structs.replace(STRANGER, state=GuestState.STOPPED, pins=DefinedPins(vcpus=((0, CpuSet.of(4)),)))
    state = HostState(topology=topology, pools=pools, ledger=Ledger(foreign=(foreign(stopped, pools, topology),)), name="c07")
    seen = Survey(state=state, guests=(stopped,), power_managed=True, reserved_pcpus=1)
    text = drawn(seen, 80)
    assert "5 of 6 pCPUs free, 4-7 switched off until a guest needs them" in " ".join(text.split())
    assert "2 pCPUs, 1 kept for the host, 0 floating vCPUs" in text
    assert "switched off, and held by stopped guests: 4 (instance-0001)" in text
    running = Survey(state=state, guests=(structs.replace(stopped, state=GuestState.RUNNING),), power_managed=True)
    assert "offline, but held: 4 (instance-0001)" in drawn(running, 80)


def test_novas_guests_are_shown_with_their_servers_names_and_where_their_threads_run() -> None:
    def nova(number: int, name: str, pins: DefinedPins, vcpus: int) -> HostGuest:
        record = NovaRecord(flavor="m1", vcpus=vcpus, memory_mib=0, name=name)
        guest = f"ffffffff-0000-4000-8000-00000000000{number}"
        return structs.replace(
            STRANGER, id=guest, name=f"instance-000{number}", vcpus=vcpus, memory_mib=1024, huge_mib=1024, nova=record, pins=pins
        )

    guests = (
        nova(1, "router", DefinedPins(vcpus=((0, CpuSet.of(2)),), emulator=CpuSet.of(3)), 1),
        nova(2, "web", DefinedPins(placement=CpuSet.parse("0-1")), 4),
        nova(3, "db", DefinedPins(vcpus=((0, CpuSet.of(4)),), emulator=CpuSet.parse("0-1")), 1),
    )
    seen = survey("core:6", "0-1", "2-5", [], guests)
    text = drawn(seen, 80)
    assert "4 floating vCPUs" in text
    assert "0 guests; 1 guest of others" in " ".join(text.split())
    (runs,) = [line for line in text.splitlines() if line.startswith("  runs")]
    assert runs.replace("│", " ").split() == ["runs", "ve", "ve", "x1", "x1e", "x3", "·"]
    assert "x1e its emulator threads" in text
    for line in ("x1  router         running  2", "    instance-0001", "x2  web            running  4 float over 0-1  the shared pool"):
        assert line in text
    assert "3, its own" in text
    assert "the overhead pool" in text
    screen = Console(width=80, highlight=False, markup=False, emoji=False)
    with screen.capture() as captured:
        screen.print(*guests_view(guests, seen))
    listed = captured.get()
    assert "1 GiB" in listed and "Nova's" in listed
    assert max(map(len, listed.splitlines())) <= 80


def test_a_recorded_place_is_marked_if_its_thread_may_run_elsewhere() -> None:
    seen = survey("core:6", "0-1", "2-5", [(2, PINNED)])
    (guest,) = seen.guests
    assert guest.record is not None
    strayed = Finding(code=FindingCode.VCPU_THREAD, guest_id=guest.id, tid=71, thread_class=ThreadClass.VCPU, recorded="3", observed="0-1")
    verdict = Verdict(guest=guest, masks=masks(guest.record.fit), observation=None, findings=(strayed,))
    text = "\n".join(str(line) for line in host_map_view(seen, map_of(seen, [verdict]), 120) if isinstance(line, Text))
    (runs,) = [line for line in text.splitlines() if line.startswith("  runs")]
    assert runs.replace("│", " ").split()[-4:] == ["A0", "A1>", "·", "·"]
    assert "> recorded here, but may run elsewhere: see pinfold audit" in text


def test_a_list_of_guests_says_where_threads_are_that_are_elsewhere() -> None:
    seen = survey("core:6", "0-1", "2-5", [(2, SHARE)])
    (guest,) = seen.guests
    assert guest.record is not None
    threads = tuple(
        ObservedThread(tid=number, name="t", thread_class=kind, allowed=CpuSet.parse(cpus), vcpu=vcpu)
        for number, kind, cpus, vcpu in (
            (71, ThreadClass.EMULATOR, "0-1", None),
            (72, ThreadClass.VCPU, "2", 0),
            (73, ThreadClass.VCPU, "0-1", 1),
        )
    )
    places = masks(guest.record.fit)
    findings = compare(Subject(name=guest.name, id=guest.id, owner="pinfold"), places, threads, seen.state.topology.online)
    verdict = Verdict(guest=guest, masks=places, observation=Observation(threads=threads, witness="procfs"), findings=findings)
    screen = Console(width=120, highlight=False, markup=False, emoji=False)
    with screen.capture() as captured:
        screen.print(*guests_view(seen.guests, seen, [verdict]))
    assert "2-3, now 0-1 the overhead pool share" in " ".join(captured.get().split())


def test_a_stray_pin_is_marked_and_is_no_second_owner() -> None:
    home = DefinedPins(vcpus=((0, CpuSet.of(4)),), emulator=CpuSet.parse("0-1"))
    moved = structs.replace(
        STRANGER,
        vcpus=1,
        nova=NovaRecord(flavor="m1", vcpus=1, memory_mib=64),
        pins=structs.replace(home, emulator=CpuSet.of(2)),
        kept=home,
        kept_first=True,
    )
    seen = survey("core:6", "0-1", "2-5", [(1, PINNED)], [moved])
    assert seen.guests[0].record is not None and str(seen.guests[0].record.fit.pinned) == "3"
    text = drawn(structs.replace(seen, configured=seen.state.pools), 120)
    (runs,) = [line for line in text.splitlines() if line.startswith("  runs")]
    assert runs.replace("│", " ").split()[-4:] == ["x1e~", "A0", "x1", "·"]
    assert "~ pinned here, but belongs elsewhere: see pinfold audit" in text
    assert "two owners" not in text
    assert "the overhead pool, now 2, its own" in text
