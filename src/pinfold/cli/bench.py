"""`pinfold bench latency`: what float and share mean for one guest on two pCPUs of this machine, measured. `pinfold.latency` does it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pinfold.cli import options as opt
from pinfold.cli.exit_status import tell, warn
from pinfold.cli.output import respond
from pinfold.core.errors import InvalidRequest
from pinfold.core.plural import count
from pinfold.latency.model import LOADS

if TYPE_CHECKING:
    from pinfold.latency.model import LatencyResult, Pcpus, Trial
    from pinfold.latency.run import Notice

MOST_OTHERS_PERCENT: Final = 2.0
"""From where on other programs spoil the figures. On a machine that did nothing else they ran for 0.01 to 0.7 % of the time."""

app = typer.Typer(help="Measure this machine.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `latency` a command of its own; a group of one command would be that command."""


@app.command()
def latency(
    load: Annotated[
        str,
        typer.Option("--load", metavar="LIST", help="The loads to measure, of those in the default."),
    ] = ",".join(LOADS),
    # The probe keeps one figure for each 20 ms, up to 120 s.
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=0.5, max=120, help="How long a round is.")] = 4,
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=1, max=100, help="So many rounds of each kind; medians are shown.")] = 2,
    vcpu_on: Annotated[
        int | None, typer.Option("--vcpu-on", metavar="PCPU", min=0, help="The pCPU of the vCPU; default: the highest of this process.")
    ] = None,
    overhead_on: Annotated[
        int | None,
        typer.Option("--overhead-on", metavar="PCPU", min=0, help="The pCPU of overhead threads with share; default: the lowest."),
    ] = None,
    virt_type: Annotated[
        str | None, typer.Option("--virt-type", metavar="kvm|qemu", help="KVM, or emulation; default: the best there is.")
    ] = None,
    fifo: Annotated[bool, typer.Option("--fifo", help="Both policies once more, with a vCPU of the real-time priority 1.")] = False,
    beside_guests: Annotated[
        bool, typer.Option("--beside-guests", help="Also on a pCPU to which a guest's vCPU is pinned, which disturbs that guest.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Measure how long overhead threads keep a vCPU from running: with float, where they share its pCPU, and with share, where they do not.

    Guests of one vCPU and no operating system run one after another in a lab of their own, which is gone afterwards; no guest or setting
    of this machine is touched. Needs root, and two pCPUs that do nothing else meanwhile: what else runs there is in the figures, and is
    named; a warning follows if it ran for 2 % of the time or more. A pCPU to which a guest's vCPU is pinned is refused, unless
    --beside-guests is given.
    """
    from pinfold.cli.views.latency import latency_view
    from pinfold.core.encoding import plain
    from pinfold.latency.figures import medians
    from pinfold.latency.model import FIFO, FLOAT, SHARE, LatencyResult, NotStarted, Sample, Trial
    from pinfold.latency.run import check_pcpus, run

    loads = _loads(load)
    pcpus = _pcpus(vcpu_on, overhead_on)
    check_pcpus(pcpus, beside_guests=beside_guests)
    accelerator = _accelerator(virt_type)
    policies = (FLOAT, SHARE, *(FIFO if fifo else ()))
    trials = [[Trial(accelerator=accelerator, load=one, policy=policy, seconds=seconds) for policy in policies] for one in loads]
    load_average = os.getloadavg()[0]
    warn_of(load_average)
    with progress(sum(map(len, trials)) * runs) as notice:
        found = tuple(run(pcpus, trials, runs, notice))
    samples = tuple(one for one in found if isinstance(one, Sample))
    result = LatencyResult(
        pcpus=pcpus,
        accelerator=accelerator,
        load_average=load_average,
        seconds=seconds,
        runs=runs,
        medians=medians(samples),
        not_started=tuple(one for one in found if isinstance(one, NotStarted)),
        samples=samples,
    )
    respond(plain(result), latency_view(result), as_json=as_json)
    warn_of_others(result)
    warn_of_short_rounds(result)


def warn_of(load_average: float) -> None:
    """Say so if more threads want to run on this machine than it has processors."""
    processors = os.cpu_count() or 1
    if load_average > processors:
        warn(f"the load average is {load_average:.1f} on {count(processors, 'processor')}, so the vCPU waits for other programs too")


def warn_of_others(found: LatencyResult) -> None:
    """Say so if other programs ran on the vCPU's pCPU for `MOST_OTHERS_PERCENT` of a round or more: the most, and in which round."""
    from pinfold.latency.figures import others_percent, significant

    rounds = [(percent, one) for one in found.samples if (percent := others_percent(one)) is not None]
    percent, worst = max(rounds, key=lambda pair: pair[0], default=(0.0, None))
    if worst is not None and percent >= MOST_OTHERS_PERCENT:
        pcpu = found.pcpus.vcpu
        warn(
            f"other programs ran up to {significant(percent, 2)} % of the time on pCPU {pcpu} ({worst.load}, {worst.policy}, "
            f"run {worst.run + 1}), so these figures are not of overhead threads alone; take a quieter pCPU by --vcpu-on, or a quieter time"
        )


def warn_of_short_rounds(found: LatencyResult) -> None:
    """Say so if rounds were over before their threads were looked at, as happens to short ones on a busy machine.

    With FIFO it happens to long ones as well: the vCPU keeps QEMU from telling that the round has begun.
    """
    from pinfold.latency.model import FIFO

    late = sum(one.outlasted for one in found.samples if one.policy not in FIFO)
    if late:
        said = f"{count(late, 'round')} of {len(found.samples)} ended before the threads were looked at"
        warn(f"{said}, so waits are too low there, and what ran is in part of afterwards; take longer rounds by --seconds")


def _pcpus(vcpu: int | None, overhead: int | None) -> Pcpus:
    from pinfold.latency.model import Pcpus
    from pinfold.latency.run import own_pcpus

    own = own_pcpus()
    return Pcpus(vcpu=own.vcpu if vcpu is None else vcpu, overhead=own.overhead if overhead is None else overhead)


def _accelerator(asked: str | None) -> str:
    from pathlib import Path

    has_kvm = Path("/dev/kvm").exists()
    if asked is not None:
        opt.one_of(asked, ("kvm", "qemu"), "--virt-type")
    if asked == "kvm" and not has_kvm:
        raise InvalidRequest("--virt-type is kvm, and this machine has no /dev/kvm; qemu is allowed", key="--virt-type")
    return asked or ("kvm" if has_kvm else "qemu")


def _loads(text: str) -> list[str]:
    return list(dict.fromkeys(opt.one_of(name.strip(), LOADS, "--load") for name in text.split(",")))


@contextmanager
def progress(rounds: int) -> Iterator[Notice]:
    """A bar on standard error that names the round; if that is no terminal, a line for each round."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pinfold.cli.screen import Screen

    target = Screen(stderr=True)
    if not target.is_terminal:
        numbers = iter(range(1, rounds + 1))
        yield lambda trial, number: tell(f"round {next(numbers)} of {rounds}: {trial.load}, {trial.policy}, run {number + 1}")
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=target, transient=True
    ) as bar:
        task = bar.add_task("the lab starts", total=rounds)
        begun = iter(range(rounds))

        def notice(trial: Trial, number: int) -> None:
            bar.update(task, completed=next(begun), description=f"{trial.load}, {trial.policy}, run {number + 1}")

        yield notice
