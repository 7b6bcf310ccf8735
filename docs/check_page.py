"""The reference page of the checks of `pinfold doctor`, from the code that makes them."""

from __future__ import annotations

from docs.markdown import code, sentence, table

from pinfold.drivers.checkup import ABOUT, Check, Health

_SIGNS = {Health.GOOD: "✓", Health.UNUSED: "·", Health.POOR: "○", Health.BAD: "✗"}
_HEALTH = {
    Health.GOOD: "Nothing to do.",
    Health.UNUSED: "Something is not so, or cannot be seen, and no flavor of the flavors file needs it.",
    Health.POOR: "Guests start, but some run worse than they could, or some do not start.",
    Health.BAD: "No guest starts.",
}
_PAGE = """# Checks

`pinfold doctor` makes these checks on the host where it runs. Each answer has a health, and where something is missing: why that matters,
which file said so, and what to do, with a command where there is one. `--long` shows that for every check, and so does `--json`, where
`check` is the code of this table.

{healths}
The exit status is 1 if an answer is {poor} or {bad}. A check that matters for realtime guests alone is {poor} only if the flavors file has
a realtime flavor, and {unused} otherwise. A file that is missing or cannot be understood is never an error: the answer says *cannot be
seen*, with its path. The checks of pools and kernel come after the hypervisor has answered. On another machine's libvirt and on a
synthetic lab, the checks that need this machine's own files are left out.

{checks}
## What has to be seen at a boot

`isolcpus`, `nohz_full` and `rcu_nocbs` are read by the kernel when it boots. `doctor` names them with the pCPUs of today's pools; it can
check the result only after the next boot. A test boots an emulated host with them. The other commands that it prints act at once, and
tests run them, on that host and on made-up files; governors on made-up files alone, since an emulated host has none. What they write
below `/proc` and `/sys` is lost at the next boot.

Which interrupts the kernel keeps to itself (those of the queues of NVMe, virtio-blk and many network cards) only newer kernels show: their
`smp_affinity_list` cannot be written. `doctor` then leaves them out of its command. On older kernels a write to such a file fails.
"""


def checks() -> str:
    """The page: what the signs mean, and every check with its reason and its sources."""
    healths = table(("", "`health`", "Meaning"), [(_SIGNS[health], code(health.value), text) for health, text in _HEALTH.items()])
    rows = [(about.what, code(check.value), sentence(about.why), sentence(about.sources)) for check, about in ABOUT.items()]
    named = {health.name.lower(): code(health.value) for health in Health}
    assert set(ABOUT) == set(Check)
    return _PAGE.format(healths=healths, checks=table(("Shown as", "`check`", "Why", "Seen in"), rows), **named)
