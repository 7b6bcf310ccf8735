"""The reference pages of options, extra specs, reasons and findings, each from its one table in the code."""

from __future__ import annotations

from itertools import groupby

from docs.finding_examples import examples
from docs.markdown import code, sentence, table

from pinfold.config.find import ENVIRONMENT, NOVA_FILE, OWN_FILE
from pinfold.config.options import GROUPS, REFUSED, option_descriptions
from pinfold.core.drift.finding import FindingCode
from pinfold.core.drift.written import MOST_COMMAND, MOST_FINDINGS, MOST_TEXT, WrittenFinding
from pinfold.core.encoding import VERSION
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.key_table import IMAGE_ONLY, REGISTRY, Disposition, Key

_CONFIGURATION = f"""# Configuration

Files are read by oslo.config. Options marked *Nova* have Nova's names and meaning, so that a `nova.conf` can be read as it is; Nova's
other options are ignored. `pinfold config sample` prints all of this as a file, `pinfold config check` looks for slips.

## Which files are read

1. Those of `--config FILE`, which may be repeated.
2. Else those of `${ENVIRONMENT}`, separated by colons.
3. Else `{OWN_FILE}`.
4. Else `{NOVA_FILE}`, for commands that only look (`audit`, `fit`, `doctor`, `host`, `guest list|show`, `config check`).
   Commands that start, stop or move guests take a `nova.conf` only by name, and a dry run prints the command that names it. The
   exception is `watch`, which runs beside Nova: it finds Nova's file itself, also with `--repair` and `--pools apply`. Nova's file is also
   read where `{OWN_FILE}` has nothing but comments, as the Debian package installs it.

After each file come the `*.conf` of the folder of its name with `.d` added, by name. Later values win.
No file at all is no error: every option then has its default. A file in a folder that you may not
enter is an error, since nothing says then whether it sets pools. The environment sets no options.

"""

_REASONS = {
    ReasonCode.NO_DEDICATED_POOL: "The guest has pinned vCPUs, and the host no dedicated pool.",
    ReasonCode.NO_SHARED_POOL: "The guest has floating vCPUs, and the host no shared pool.",
    ReasonCode.NO_OVERHEAD_POOL: "Every vCPU is realtime, so that emulator threads of policy share have nowhere to float.",
    ReasonCode.OVERHEAD_POOL_OFFLINE: "Policy share needs the overhead pool; it never lets the threads float instead.",
    ReasonCode.OVERHEAD_BOOKED: "`[overhead] booking = enforce` and the pool's millicpu are booked.",
    ReasonCode.OVERHEAD_CELL_BOOKED: "A warning: with `[overhead] locality = prefer_local` the guest then books the whole pool.",
    ReasonCode.TOO_FEW_CELLS: "Guest cells go to distinct host cells.",
    ReasonCode.DEDICATED_PCPUS: "Pinned vCPUs take one dedicated pCPU each, all of a guest cell in one host cell.",
    ReasonCode.EMULATOR_PCPU: "Policy isolate takes one dedicated pCPU more.",
    ReasonCode.THREAD_SIBLINGS: "Thread policy require uses cores with two or more free threads alone.",
    ReasonCode.WHOLE_CORES: "Thread policy isolate takes whole cores alone.",
    ReasonCode.SHARED_PCPUS: "The shared vCPUs of a guest cell are at most as many as the shared pCPUs of its host cell.",
    ReasonCode.SHARED_CAPACITY: "`cpu_allocation_ratio` is used up.",
    ReasonCode.MEMORY: "Small-page memory of a cell, or of the host after its reserve.",
    ReasonCode.PAGES: "Huge pages of one size in one cell.",
    ReasonCode.PAGE_SIZE: "The host has no pages of that size, or the memory is no whole number of them.",
    ReasonCode.GUEST_CELL: "No single host cell takes that guest cell; the reasons of each cell say why.",
    ReasonCode.CELL_COMBINATION: "Each guest cell fits somewhere, but not all of them at once.",
    ReasonCode.MISSING_TRAIT: "`trait:NAME=required`.",
    ReasonCode.FORBIDDEN_TRAIT: "`trait:NAME=forbidden`.",
    ReasonCode.PROCESSOR: "The host's libvirt cannot give new guests the configured processor; `pinfold doctor` says the same.",
    ReasonCode.MISSING_FEATURE: "The guest asks for hardware that the host does not report; an old agent reports none.",
    ReasonCode.AGGREGATE_METADATA: "The flavor asks for a value that the metadata of the host's aggregates does not have.",
    ReasonCode.MISSING_NETWORK: "The server is to be on a network that the networks file of the host does not name.",
    ReasonCode.AGGREGATE: "The host was taken out of its aggregate in Placement while the request was on its way.",
    ReasonCode.DISK: "Disk after reserve and ratio.",
    ReasonCode.HOST_DOWN: "The host's agent has been silent for longer than its lease.",
    ReasonCode.HOST_DISABLED: "An operator disabled the host.",
    ReasonCode.PLACEMENT: "Placement lacks room that the ledger has, or has no provider of that host yet; its own words follow.",
    ReasonCode.STALE: "Others changed the host's record each time; the next host is tried.",
}

_FINDINGS = {
    FindingCode.VCPU_THREAD: "A vCPU's thread may run elsewhere than on its pin or float set.",
    FindingCode.EMULATOR_THREAD: "An emulator thread may run elsewhere than its policy put it.",
    FindingCode.IOTHREAD: "An iothread may run elsewhere than with the emulator threads.",
    FindingCode.VHOST_THREAD: "A vhost thread may run elsewhere than with the emulator threads.",
    FindingCode.KERNEL_THREAD: "A kernel thread of KVM's may run elsewhere; pinfold does not promise its place.",
    FindingCode.VCPU_MISSING: "A recorded vCPU has no thread.",
    FindingCode.VCPU_UNEXPECTED: "A thread is a vCPU that the record does not know.",
    FindingCode.REALTIME_MISSING: "A realtime vCPU does not run SCHED_FIFO.",
    FindingCode.REALTIME_UNEXPECTED: "A thread runs under a realtime scheduler that was not recorded for it.",
    FindingCode.THREADS_UNSEEN: "The hypervisor says that the guest runs, procfs shows none of it.",
    FindingCode.THREADS_UNSETTLED: "New threads kept appearing; those that were seen are judged.",
    FindingCode.DEFINITION_PINS: "The definition asks for other pins than recorded; the next start would apply them.",
    FindingCode.DEFINITION_REALTIME: "The definition asks for other realtime vCPUs than recorded.",
    FindingCode.EMULATOR_POLICY: "The emulator pin of a guest of Nova's is not what its policy and the pools say.",
    FindingCode.PCPU_OFFLINE: "A recorded pCPU went offline; the kernel took it out of every mask.",
    FindingCode.TWO_OWNERS: "Two guests, or a guest and a stranger, hold one pCPU.",
    FindingCode.OUTSIDE_POOL: "The pools have changed under a running guest: it is outside of today's.",
    FindingCode.POOL_PART: "A pool has grown; the guest's threads use a part of it.",
    FindingCode.FOREIGN_FLOATING: "Somebody else's guest may run on dedicated pCPUs that are not its own.",
    FindingCode.FOREIGN_PROCESS: "A process that is no guest is bound to dedicated pCPUs.",
    FindingCode.RECORD_UNREADABLE: "The guest's record is damaged or too new; the guest counts as foreign.",
    FindingCode.SIBLING_BUSY: "A guest with hw:cpu_thread_policy=isolate shares a core with somebody who is pinned there.",
    FindingCode.REPAIR_UNDONE: "The watch or the host's agent repairs a guest no more, because somebody undoes it.",
    FindingCode.MEMORY_CELL: "A guest's memory lies on another host cell than the one that it was given.",
    FindingCode.POOLS_MISSING: "Guests have pinned vCPUs, but the configuration that was read names no pools.",
}


def configuration() -> str:
    """Every option by group, the search for files, and what is refused."""
    parts = [
        _CONFIGURATION,
    ]
    for name, options in groupby(option_descriptions(), key=lambda option: option.group):
        group = next(group for group in GROUPS if group.name == name)
        parts.append(f"## [{name}]\n\n{group.title}\n\n")
        rows = [(code(one.name), one.help, one.allowed, one.default, "Nova" if one.nova else "") for one in options]
        parts.append(table(("option", "meaning", "allowed", "default", ""), rows) + "\n")
    parts.append(
        "## Refused\n\nCommands that place guests refuse these options of Nova's by name, wherever they come from. "
        "Commands that place no guests (`audit`, `repair`, `host map`, `host show`, `guest list`, `guest show`) read them.\n\n"
    )
    rows = [
        (code(f"[{one.group}] {one.name}"), sentence(one.instead), ", ".join(map(code, one.harmless)) or "–", sentence(one.audited))
        for one in REFUSED
    ]
    return "".join(parts) + table(("option", "why, and what replaces it", "values that pass", "how an audit reads it"), rows)


def extra_specs() -> str:
    """Every extra spec by what is done with it."""
    intro = (
        "# Extra specs and image properties\n\n"
        "A flavor's extra specs and an image's properties are merged by Nova's rules. Where both say something, they must agree. "
        "An unknown `hw:` or `pinfold:` key is refused with the nearest known one; image properties that Nova does not have are ignored. "
        "In names, `N` is a guest cell's index and capitals stand for any name. "
        "An image's properties are in a [file beside it](../how-to/describe-an-image.md).\n\n"
    )
    titles = {
        Disposition.ACTED_UPON: ("Acted upon", "They decide something about the guest, or which hosts may have it."),
        Disposition.BY_SERVICE: (
            "Acted upon by the service",
            (
                "They decide which hosts of a fleet are candidates, as Nova's `AggregateInstanceExtraSpecsFilter` does: "
                "[choose hosts by aggregates](../how-to/choose-hosts-by-aggregates.md). `pinfold fit` and `pinfold guest start` on one "
                "host list them as without effect."
            ),
        ),
        Disposition.UNSUPPORTED: ("Refused as unsupported", "They would change the placement in a way that is not there yet."),
        Disposition.UNKEPT: (
            "Refused by the service",
            (
                "They promise something that no server gets. The service refuses them when a flavor gets them, when a server is created "
                "and in `/v1/fits`, except for the values that promise nothing. `pinfold fit` and `pinfold guest start` on one host list "
                "them as without effect: a template may bring what they ask for."
            ),
        ),
        Disposition.ACCEPTED: (
            "Without effect",
            "They are accepted and do nothing. `pinfold fit`, `pinfold guest start`, `/v1/fits` and `/v1/servers/ID/placement` name them.",
        ),
        Disposition.DESCRIPTION: ("Descriptions", "They say what an image is, and ask for nothing."),
    }
    parts = [intro]
    for disposition, (title, words) in titles.items():
        tables = (("extra spec", REGISTRY), ("image property", IMAGE_ONLY))
        found = ((kind, [key for key in keys if key.disposition is disposition]) for kind, keys in tables)
        parts.append("\n".join([f"## {title}\n\n{words}\n", *(_keys(keys, disposition, kind) for kind, keys in found if keys)]) + "\n")
    return "".join(parts).rstrip("\n") + "\n"


def _keys(keys: list[Key], disposition: Disposition, kind: str) -> str:
    """The table of the keys of one disposition: extra specs with the image property that mirrors them, or image properties alone."""
    mirrored = ("image property",) if kind == "extra spec" else ()

    def row(key: Key, *cells: str) -> tuple[str, ...]:
        return (code(key.name), sentence(key.meaning), *cells, *([code(key.image)] if mirrored else []))

    match disposition:
        case Disposition.UNSUPPORTED:
            return table((kind, "meaning", "why it is refused", *mirrored), [row(key, sentence(key.reason)) for key in keys])
        case Disposition.UNKEPT:
            rows = [row(key, key.allowed, ", ".join(map(code, key.harmless)) or "–") for key in keys]
            return table((kind, "meaning", "allowed in Nova", "values that pass", *mirrored), rows)
        case Disposition.DESCRIPTION:
            return table((kind, "meaning"), [row(key) for key in keys])
    return table((kind, "meaning", "allowed", *mirrored), [row(key, key.allowed) for key in keys])


def reasons() -> str:
    """Every reason code, its meaning and its sentence."""
    rows = [(code(reason.value), _REASONS[reason], _sentence(reason)) for reason in ReasonCode]
    return f"""# Reasons

Why a guest does not fit a host. `pinfold fit`, `pinfold guest start`, the API and the logs print the same reasons; the codes are stable.

Each reason has a kind. `{Kind.INSUFFICIENT.value}`: the host would take the guest after enough others have left, or
once its overhead pool is online again.
`{Kind.INFEASIBLE.value}`: this host, even empty, never takes it. A refusal is infeasible when a reason about the host as a whole is.

""" + table(("code", "when", "sentence, for example"), rows)


def _sentence(reason: ReasonCode) -> str:
    detail = {
        ReasonCode.PAGES: "2048",
        ReasonCode.PAGE_SIZE: "1048576 KiB",
        ReasonCode.GUEST_CELL: "0",
        ReasonCode.MISSING_TRAIT: "HW_CPU_HYPERTHREADING",
        ReasonCode.FORBIDDEN_TRAIT: "HW_CPU_HYPERTHREADING",
        ReasonCode.MISSING_NETWORK: "lan",
        ReasonCode.MISSING_FEATURE: "the machine q35",
        ReasonCode.PROCESSOR: "the host CPU does not provide required features: svm",
        ReasonCode.AGGREGATE_METADATA: "ssd is 'true'",
        ReasonCode.PLACEMENT: "its own words",
    }.get(reason, "")
    return Reason(code=reason, kind=Kind.INSUFFICIENT, cell=1, needed=8, available=7, detail=detail).sentence()


FINDING_KEYS = {
    "code": "the code",
    "severity": "`drift` or `note`",
    "guest": "the guest's name at the hypervisor, empty for the host's own findings",
    "guest_id": "its id, for a server the server's",
    "tid": "the first thread, or the process; null if it is about no thread",
    "thread": "its name",
    "thread_class": "its class, null if the threads are of several",
    "threads": "all threads with the same cause, each with `tid` and `name`",
    "definition": "which definition of the guest is wrong",
    "by_record": "whether the right place is recorded; false if it was inferred",
    "subject": "what else it is about: a vCPU, a pool, pCPUs, an amount",
    "recorded": "what should be: a list of pCPUs or cells, a scheduler",
    "observed": "what is, or who the owners are",
    "sentence": "all that in one sentence",
    "repair": "the shell command that undoes it; run it on that host",
    "advice": "what to do where no command undoes it",
}


def findings() -> str:
    """Every finding code, its severity, meaning and sentence, and what undoes it."""
    made = examples()
    rows = []
    for found in FindingCode:
        example = made[found]
        undoes = code(example.repair) if example.repair else sentence(example.advice)
        rows.append((code(found.value), example.severity.value, _FINDINGS[found], example.sentence(), undoes))
    return (
        """# Findings

What `pinfold audit` and `pinfold guest show` find: differences between what was recorded and what the host shows. The codes are stable.
Each finding carries the exact command that undoes it, or the advice that stands in its place. The examples are of a host with pCPUs 0-1
shared and 2-7 dedicated, and of its guest `web`, recorded with its vCPUs on pCPU 2 and 3 and its emulator threads on 0-1.

`drift` breaks a promise, and makes the exit status 1. `note` is worth knowing, but outside of what pinfold controls.

"""
        + table(("code", "severity", "when", "sentence, for example", "what undoes it"), rows)
        + _finding_form()
    )


def _finding_form() -> str:
    rows = [(code(name), FINDING_KEYS[name]) for name in WrittenFinding.__struct_fields__]
    return f"""
## As JSON

`--json`, `/v1/drift`, `/v1/hosts/NAME/drift` and the agents' reports write a finding alike. A report of an agent holds at most
{MOST_FINDINGS:,} findings, those that break a promise first, and texts of at most {MOST_TEXT:,} characters; a command that is longer than
{MOST_COMMAND:,} is left out. The store keeps the same form with its version, {VERSION}.

""" + table(("key", "what it is"), rows)
