"""The screen of one guest's proof: every thread, where it may run and where it should."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pinfold.cli.screen import Hanging
from pinfold.cli.views.columns import Columns
from pinfold.cli.views.phrases import emulator_words, guest_words, moment, policy_words
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, Finding, InferredMasks, Severity, expected
from pinfold.core.overhead import ObservedThread, ThreadClass, memory_cell
from pinfold.core.plural import count, mib
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.topology import Topology
from pinfold.drivers.port import HostGuest, Observation

_ORDER = tuple(ThreadClass)


def guest_view(
    guest: HostGuest,
    masks: ExpectedMasks | None,
    observation: Observation | None,
    findings: Iterable[Finding],
    topology: Topology | None = None,
) -> list[RenderableType]:
    """One guest: its head, the proof if it runs, and the findings, each with its repair. Pure.

    `topology` is the host's, None if it is not known; it gives the pCPUs of the cells that thread contexts serve.
    """
    found = tuple(findings)
    lines: list[RenderableType] = guest_head(guest, masks.policy if isinstance(masks, InferredMasks) else None)
    if observation is not None:
        known = masks or InferredMasks(vcpus=(CpuSet(),) * guest.vcpus, overhead=CpuSet())
        if masks is None:
            lines.append(Text(f"  {count(len(observation.threads), 'thread')} seen; nothing was recorded of this guest", style="dim"))
        lines += [
            Text(),
            Padding(proof_table(known, observation, found, contexts(guest, observation, topology)), (0, 0, 0, 2), expand=False),
            Text(),
            *(verdict_lines(masks, observation, found) if masks is not None else [Text(f"  witness: {observation.witness}", style="dim")]),
        ]
    else:
        lines.append(Text("  it does not run: there are no threads to be seen", style="dim"))
    about = [finding for finding in found if finding.tid is None or finding.repair or finding.advice]
    return lines + findings_lines(about)


def guest_head(guest: HostGuest, policy: EmulatorPolicy | None = None) -> list[RenderableType]:
    """A guest's name, state, size, policy and id. `policy` is that of a guest without our record, None if it is not known."""
    head = Text.assemble((guest_words(guest), "bold"), f": {guest.state.value}, {count(guest.vcpus, 'vCPU')}, {mib(guest.memory_mib)}")
    if guest.record is not None and guest.record.flavor:
        head.append(f", flavor {guest.record.flavor}")
    lines: list[RenderableType] = [head]
    if guest.record is not None:
        fit = guest.record.fit
        lines.append(Text(f"  policy {guest.record.policy.value}: emulator threads on {fit.emulator}, {emulator_words(fit)}"))
        lines += [Text(f"  guest cell {cell.guest_cell} on host cell {cell.host_cell}") for cell in fit.cells]
    elif guest.nova is not None:
        known = "" if policy is None else f", policy {policy_words(policy)}"
        lines.append(Text(f"  a guest of Nova's, flavor {guest.nova.flavor}{known}"))
    process = f", process {guest.pid}" if guest.pid is not None else ""
    lines.append(Text(f"  id {guest.id}{process}", style="dim"))
    return lines


def contexts(guest: HostGuest, observation: Observation, topology: Topology | None) -> dict[int, str]:
    """For each thread context (by thread id) the host cell whose memory it allocated, with the cell's pCPUs if the topology is known."""
    told = {}
    for thread in observation.threads:
        cell = None if guest.record is None else memory_cell(thread, guest.record.fit)
        if cell is not None:
            pcpus = [f" ({known.cpus})" for known in (topology.cells if topology else ()) if known.id == cell]
            told[thread.tid] = f"memory of cell {cell}{''.join(pcpus)}"
    return told


def proof_table(masks: ExpectedMasks, observation: Observation, findings: Iterable[Finding], contexts: Mapping[int, str]) -> Columns:
    """Every thread: class, name, id, the pCPUs on which it may run, those in its record, and whether they are the same.

    A dot says that a thread is not judged, because nobody knows its place. `contexts` says what is known about thread contexts.
    """
    worst: dict[int, Severity] = {}
    for finding in findings:
        for tid in finding.tids:
            if worst.get(tid) is not Severity.DRIFT:
                worst[tid] = finding.severity
    fifo = any(thread.scheduler != "other" for thread in observation.threads)
    titles = ("class", "thread", "tid", *(("scheduler",) if fifo else ()), "may run on", "recorded", "")
    table = Columns(*titles, whole=("class", "tid", "scheduler", ""), right=("tid",))
    for thread in sorted(observation.threads, key=_order):
        recorded = expected(masks, thread)
        scheduler = [thread.scheduler] if fifo else []
        mark = _mark(worst.get(thread.tid)) if recorded or thread.tid in worst else _unjudged()
        context = thread.thread_class is ThreadClass.THREAD_CONTEXT
        place = contexts.get(thread.tid, "by libvirt") if context else str(recorded or "nothing")
        table.add_row(_class(thread), thread.name, str(thread.tid), *scheduler, str(thread.allowed), place, mark)
    return table


def verdict_lines(masks: ExpectedMasks, observation: Observation, findings: Iterable[Finding]) -> list[Text]:
    """How many of the judged threads are where their record says, how many are not judged, and which witness saw them.

    Thread contexts are left out: libvirt places them.
    """
    found = tuple(findings)
    astray = {tid for finding in found for tid in finding.tids}
    seen = [thread for thread in observation.threads if thread.thread_class is not ThreadClass.THREAD_CONTEXT]
    judged = [thread for thread in seen if thread.tid in astray or expected(masks, thread)]
    witness = Text(f"  witness: {observation.witness}", style="dim")
    if not judged:
        return [Text.assemble(_unjudged(), " no thread was judged: nothing shows where they should run"), witness]
    own = [thread for thread in judged if thread.thread_class is not ThreadClass.KTHREAD]
    kernel = [thread for thread in judged if thread.thread_class is ThreadClass.KTHREAD]
    right = sum(thread.tid not in astray for thread in own)
    words = f" {right} of {count(len(own), 'thread')}"
    if kernel:
        words += f", and {sum(thread.tid not in astray for thread in kernel)} of {count(len(kernel), 'kernel thread')},"
    words += " may run exactly where recorded"
    if len(judged) < len(seen):
        words += f"; {len(seen) - len(judged)} not judged"
    drift = any(finding.severity is Severity.DRIFT and finding.tids for finding in found)
    return [Text.assemble(_mark(Severity.DRIFT if drift else None), words), witness]


def findings_lines(findings: Iterable[Finding], since: Sequence[float | None] = ()) -> list[RenderableType]:
    """All findings. Advice that several findings of one guest share is given once, below the last of them.

    `since` has the times at which they were first reported, where that is known.
    """
    found = tuple(findings)
    times = tuple(since) or (None,) * len(found)
    last = {(finding.guest_id or finding.guest, finding.advice): place for place, finding in enumerate(found)}
    return [
        line
        for place, finding in enumerate(found)
        for line in finding_lines(
            finding if last[finding.guest_id or finding.guest, finding.advice] == place else replace(finding, advice=""),
            since=times[place] if finding.severity is Severity.DRIFT else None,
        )
    ]


def finding_lines(finding: Finding, indent: int = 0, *, since: float | None = None) -> list[RenderableType]:
    """One finding, and below it when it was first reported, and the command that repairs it, or what to do if no command does. A command is
    never folded.
    """
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row(_mark(finding.severity), Hanging(finding.sentence()))
    lines: list[RenderableType] = [Padding(line, (0, 0, 0, indent), expand=False)]
    if since is not None:
        lines.append(Text(f"{' ' * (indent + 2)}first reported at {moment(since)}", style="dim"))
    if finding.repair:
        prefix = " " * (indent + 2)
        lines.append(Text.assemble(prefix, ("repair: ", "dim"), (finding.repair, "bold"), no_wrap=True))
    elif finding.advice:
        lines.append(Padding(Text(finding.advice, style="dim"), (0, 0, 0, indent + 2), expand=False))
    return lines


def _mark(severity: Severity | None) -> Text:
    if severity is None:
        return Text("✓", style="bold green")
    return Text("✗", style="bold red") if severity is Severity.DRIFT else Text("○", style="bold yellow")


def _unjudged() -> Text:
    return Text("·", style="dim")


def _class(thread: ObservedThread) -> str:
    return f"vcpu {thread.vcpu}" if thread.thread_class is ThreadClass.VCPU else thread.thread_class.value


def _order(thread: ObservedThread) -> tuple[int, int, int]:
    return _ORDER.index(thread.thread_class), -1 if thread.vcpu is None else thread.vcpu, thread.tid
