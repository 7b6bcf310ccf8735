"""The screen of `pinfold top`. A live one beside a real guest is in `tests/real/host/test_top.py`."""

from __future__ import annotations

from rich.console import Console
from tests.cli.conftest import Pinfold

from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.screen import Screen
from pinfold.cli.views.top import top_view
from pinfold.core.cpuset import CpuSet
from pinfold.watch.top import Order, Top, TopGuest, TopPool

POOLS = (
    TopPool(
        pool="dedicated",
        cpus=CpuSet.parse("2-7"),
        used_millicpu=None,
        wait_millicpu=None,
        booked_millicpu=5000,
        capacity_millicpu=6000,
        guests=2,
    ),
    TopPool(
        pool="overhead",
        cpus=CpuSet.parse("0-1"),
        used_millicpu=1900,
        wait_millicpu=250,
        booked_millicpu=500,
        capacity_millicpu=2000,
        guests=2,
    ),
)


def guest(name: str, delay: int | None = 0, **more: object) -> TopGuest:
    values = {"origin": "nova", "policy": "share", "vcpus": 4, "overhead_millicpu": delay, "overhead_wait_millicpu": delay}
    return TopGuest(guest=name, name=name, **(values | more))  # type: ignore[arg-type]


def host(*guests: TopGuest, **more: object) -> Top:
    return Top(**({"host": "c01", "seconds": 3.0, "pools": POOLS, "guests": guests} | more))  # type: ignore[arg-type]


def screen(found: Top, width: int = 80, **options: object) -> list[str]:
    target: Console = Screen(width=width)
    with target.capture() as captured:
        for line in top_view(found, Order.DELAY, width, **options):  # type: ignore[arg-type]
            target.print(line)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_pools_are_on_top_and_each_guest_has_a_line() -> None:
    busy = guest("web", 1234, vcpu_millicpu=3900, vcpu_wait_millicpu=40, others_millicpu=7, drift=2)
    assert screen(host(busy, guest("new", None, policy=""))) == [
        "c01: 3.0 s, in CPUs; guests by overhead delay",
        "pool            used                    waits        booked  guests  pCPUs",
        "dedicated     - of 6  ··········            -  5.00 of 6.00       2  2-7",
        "overhead   1.90 of 2  ██████████  95 %   0.25  0.50 of 2.00       2  0-1",
        "guest  overhead  delay      vCPUs  delay  taken  drift  policy",
        "web        1.23   1.23  3.90 of 4   0.04   0.01      2  share",
        "new           -      -     - of 4      -      -      -  nova",
    ]


def test_a_host_without_pools_or_guests_says_so() -> None:
    assert screen(host(pools=())) == ["c01: 3.0 s, in CPUs; guests by overhead delay", "no pools are configured", "guest", "no guest runs"]


def test_no_line_is_wider_than_the_screen_and_no_guest_has_two() -> None:
    guests = [guest("n" * length, 5) for length in (1, 40, 255)]
    for width in (20, 40, 80, 200):
        lines = screen(host(*guests, unread=("u" * 300,)), width, live=True)
        assert max(map(len, lines)) <= width
        assert len(lines) == 1 + 3 + 1 + len(guests) + 2


def test_a_live_screen_has_as_many_lines_as_the_terminal_and_says_how_many_guests_are_below() -> None:
    guests = [guest(f"web{number}", number) for number in range(50)]
    lines = screen(host(*guests, unread=("x",)), rows=20, live=True, problem="libvirt is away")
    assert len(lines) == 20
    assert lines[1] == "libvirt is away"
    assert lines[6].split()[0] == "web49"
    assert lines[-3] == "39 more guests"
    assert lines[-1] == "sort: d delay  o overhead  v vcpu  w wait  t others  n name  q quit"
    assert len(screen(host(*guests[:12]), rows=20, live=True)) == 18


def test_an_unknown_order_is_refused_with_those_that_are_allowed(pinfold: Pinfold) -> None:
    found = pinfold("top", "--sort", "cpu")
    assert found.status == ExitStatus.BAD_INPUT
    assert "delay, overhead, vcpu, wait, others or name" in " ".join(found.err.split())
