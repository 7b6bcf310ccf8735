"""The screen of a fit, or of the reasons why there is none."""

from __future__ import annotations

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.phrases import emulator_words
from pinfold.core.fit.answer import EmulatorPlacement, Fit, NoFit
from pinfold.core.host import HostState
from pinfold.core.overhead import capacity_millicpu
from pinfold.core.plural import count, mib, page_words
from pinfold.core.reasons import Kind, ReasonCode
from pinfold.core.request.model import GuestRequest


def fit_view(fit: Fit, request: GuestRequest, state: HostState) -> list[RenderableType]:
    """Where every vCPU, the memory and the emulator threads would go. Pure."""
    where = f" on {state.name}" if state.name else ""
    lines: list[RenderableType] = [Text.assemble(("fits", "bold green"), f"{where}: {count(fit.vcpus, 'vCPU')}, {mib(fit.memory_mib)}")]
    table = Columns("", "", "", titled=False)
    for cell in fit.cells:
        pages = f"{mib(cell.memory_mib)} in pages of {page_words(cell.page_kib)}"
        table.add_row(f"guest cell {cell.guest_cell}", f"host cell {cell.host_cell}", pages)
        for vcpu, pcpu in cell.pins:
            siblings = state.topology.siblings[pcpu]
            beside = f"core {siblings}" if len(siblings) > 1 else ""
            realtime = ", realtime" if vcpu in fit.realtime else ""
            table.add_row(f"  vCPU {vcpu}", Text(f"pCPU {pcpu}", style="cyan"), beside + realtime)
        if cell.float_vcpus:
            table.add_row(f"  vCPUs {cell.float_vcpus}", Text(str(cell.float_set), style="green"), "float over the cell's shared pCPUs")
    if fit.float_vcpus:
        table.add_row(f"vCPUs {fit.float_vcpus}", Text(str(fit.float_set), style="green"), "float over the shared pool")
    if fit.idle_siblings:
        table.add_row("idle siblings", Text(str(fit.idle_siblings), style="dim"), "taken, so that nobody else runs on these cores")
    words = f"{emulator_words(fit)} (policy {request.emulator_policy.value})"
    table.add_row("emulator threads", Text(str(fit.emulator), style="magenta"), words)
    if fit.emulator_placement is EmulatorPlacement.POOL:
        total = capacity_millicpu(state.pools, state.limits)
        table.add_row("overhead booked", f"{fit.overhead_millicpu} millicpu", f"of {total:,} in all")
    lines.append(Padding(table, (0, 0, 0, 2), expand=False))
    lines.extend(Text.assemble(("warning: ", "yellow"), reason.sentence()) for reason in fit.warnings)
    if request.not_acted_upon:
        lines.append(Text(f"no effect on CPUs and memory: {', '.join(request.not_acted_upon)}", style="dim"))
    return lines


def refusal_view(refusal: NoFit, host: str) -> list[RenderableType]:
    """Every reason on a line, and whether waiting can help. Pure."""
    if refusal.kind is Kind.INFEASIBLE:
        ever = "never, not even when it is empty"
    elif any(reason.code is ReasonCode.OVERHEAD_POOL_OFFLINE for reason in refusal.reasons):
        ever = "it may once its overhead pool is online"
    else:
        ever = "it may after guests have left"
    lines: list[RenderableType] = [Text.assemble(("does not fit", "bold red"), f" on {host or 'this host'}; {ever}")]
    lines.extend(Text(f"  {reason.sentence()}") for reason in refusal.reasons)
    return lines
