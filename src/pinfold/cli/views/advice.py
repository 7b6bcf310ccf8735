"""What advice on the overhead pool looks like on a screen: each number with its evidence."""

from __future__ import annotations

from collections.abc import Iterator

from pinfold.core.overhead.advice import LEAST_HOURS, Advice
from pinfold.core.plural import count


def advice_view(advice: Advice) -> Iterator[str]:
    """The advice, a line for each number."""
    if advice.worst_delay_us is None or advice.load is None:
        yield f"No advice: {advice.why}. {LEAST_HOURS} hours with guests on the overhead pool are needed."
        return
    yield (
        f"Evidence: {count(advice.hours, 'measured hour')}; in the worst one overhead threads waited {advice.worst_delay_us:,.0f} us "
        f"on average before they ran. {advice.missed} missed the target of {advice.target_us:,.0f} us."
    )
    if advice.pcpus is None or advice.busy_allowed is None:
        yield f"pCPUs: no advice: {advice.why}."
    else:
        yield (
            f"pCPUs: {advice.pcpus}. The busiest hour kept {advice.load:.2f} pCPUs of the pool busy, and the target was kept where the "
            f"pool was busy for up to {advice.busy_allowed:.0%} of the time."
        )
    yield (
        f"share or isolate: with share, the overhead threads of a guest ran {advice.guest_millicpu} millicpu in the hour where that was "
        "most, as a mean over the guests; isolate takes a dedicated pCPU, 1,000 millicpu, of each guest."
    )
    rates = advice.rates
    if rates is None or advice.factor is None:
        yield "rates: no advice: nothing was booked of the pool."
        return
    yield (
        f"rates: guest_millicpu = {rates.guest}, vcpu_millicpu = {rates.vcpu}, disk_millicpu = {rates.disk}, nic_millicpu = {rates.nic}. "
        f"In the hour where that was most, guests ran {advice.factor:.2f} times what was booked; all rates are multiplied by that."
    )
