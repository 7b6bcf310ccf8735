"""The messages between agents and the service, as values.

Both sides write and read them with `core.encoding`, which checks types and bounds. `agent.responses` refuses one order without the others.
The transport is in `agent.client` and `api.agent`.

| message | from | means |
|---|---|---|
| `Hello` | agent | the report of my host, which is also a heartbeat |
| `Welcome` | service | your lease, and the count of orders that comes next |
| `Orders` | service | all guests that your host should run, complete each time |
| `core.config_drive.GuestConfig` | service | what a new guest's config drive holds |
| `GuestReport` | agent | what one of your guests is doing |
| `Absence` | agent | neither domain nor process of it remains |
| `core.drift.written.FindingsReport` | agent | what the audit of my host found, complete each time |
| `core.repair_question.RepairAnswer` | agent | what became of a repair that `Orders.repairs` asks for |
| `core.history.HistoryAnswer` | agent | the samples of my host that `Orders.question` asks for |
| `core.guest_questions.GuestAnswer` | agent | what one of `Orders.guest_questions` asks for |
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from pinfold.core.adoption import Takeover
from pinfold.core.bounds import ClaimUuid, GuestUuid, Name, Revision, Uuid
from pinfold.core.drift import SeenThread
from pinfold.core.guest_questions import GuestQuestion
from pinfold.core.history import HistoryQuestion
from pinfold.core.networks import MOST_NETWORKS, Mac, Macs, Ports
from pinfold.core.pools import PoolOrder
from pinfold.core.printable import shortened
from pinfold.core.repair_question import RepairQuestion
from pinfold.core.request.model import GuestRequest
from pinfold.store.records import Desired, HostReport, Observed, Pause, Tombstone, WrittenClaim

PROTOCOL: Final = 4
"""The version of these messages. Version 1 lacks the ids of claims in reports and tombstones, and the report of findings.
In version 2 an order has the parts of its claim side by side. Version 3 lacks `GuestOrder.rebuild`.

A service understands agents of all versions. An agent needs a service of its own version.
"""
IN_LINES: Final = "application/x-ndjson"
"""The type of an answer in lines, of which each is JSON."""
FAILURE_SENT: Final = 2_000
"""The most characters of a failure that an agent sends. A hypervisor's message may have any length, and its beginning matters most."""
FAILURE_MOST: Final = 8_000
"""The most characters of a failure that the service accepts."""


ImageName = Annotated[str, Meta(pattern=r"\A([A-Za-z0-9][A-Za-z0-9._ @+-]{0,127})?\Z")]
"""The name of an image, without its suffix; '' for none. It becomes a part of a file name and of a URL, and cannot leave its directory."""


Failure = Annotated[str, Meta(max_length=FAILURE_MOST)]


def shorten_failure(sentence: str) -> str:
    """The failure, cut to its beginning and an ellipsis if it is longer than `FAILURE_SENT` characters.

    >>> shorten_failure("no such image"), len(shorten_failure("x" * 3000)), shorten_failure("x" * 3000)[-2:]
    ('no such image', 2000, 'x…')
    """
    return shortened(sentence, FAILURE_SENT)


class Hello(Struct, frozen=True, kw_only=True):
    """The agent's host. The name must be the one for which its token was made."""

    name: str
    report: HostReport


class Welcome(Struct, frozen=True, kw_only=True):
    """The service's response: the host's id, its revision, and for how many seconds the host counts as up from now.

    `report` is the digest of the report that the service keeps of the host. An agent that gave up waiting for a response sends a newer
    report, and the older one may arrive after it. The digest then differs from the one in the response to the newer report.
    """

    host: Uuid
    revision: Revision
    report: Annotated[str, Meta(max_length=255)]
    orders: Revision
    lease_seconds: Annotated[float, Meta(ge=0.1, le=86_400.0)]


class GuestOrder(Struct, frozen=True, kw_only=True):
    """What the service wants of one guest, with its claim on the agent's host. `image` is an image's name, '' for none.

    `config_drive` says that the guest has one; what a new guest's drive holds is asked for by `GET /agent/v1/guests/GUEST/config`.
    `boot` is the wanted boot: it counts the starts that a user asked for, 1 for the create, plus 1 for each later start and reboot.
    `booted` is the last one that the agent reported, 0 for none. A `hard` boot does not ask the guest to shut down, and forgets a memory
    that was saved to disk. `pause` says how a running guest is to be paused. `ports` are the guest's interfaces, on networks that the host
    offers; `detach` are the MAC addresses of those that it is to lose. `takeover` is for a domain that was there before the service: an
    agent neither makes nor starts it. `rebuild` is the boot with which the disk and the config drive are made anew, from the image as it is
    then, 0 for none and once that was done. A guest that is to be stopped gets its new disk too, and does not run.
    """

    guest: GuestUuid
    name: Name
    claim: WrittenClaim
    desired: Desired
    boot: Revision
    flavor: Name
    request: GuestRequest
    image: ImageName = ""
    booted: Revision = 0
    hard: bool = False
    pause: Pause = Pause.NONE
    config_drive: bool = False
    ports: Ports = ()
    detach: Macs = ()
    takeover: Takeover = Takeover.NONE
    rebuild: Revision = 0


class Renewal(Struct, frozen=True, kw_only=True):
    """A poll has renewed the lease of its host: the host counts as up for so many seconds from the moment when the poll arrived.

    A poll that asks for it is told so early, while it waits: the answer then has the type `IN_LINES`, a `Renewal` is its first line, and
    `Orders`, or an error, its last.

    `report` is the digest of the report that the service kept then, as in `Welcome`. `audited`: the service has noted when the agent's last
    audit found what the service has.
    """

    report: Annotated[str, Meta(max_length=255)]
    lease_seconds: Annotated[float, Meta(ge=0.1, le=86_400.0)]
    audited: bool = False


class Orders(Struct, frozen=True, kw_only=True):
    """All orders by guest, at one count. `tombstones` are claims of which nothing must be there any more. `protocol` is the service's.

    `lease` answers a poll that was a sign of life and after whose whole wait nothing had changed: then there is the count and nothing else.
    None says that the poll has renewed no lease, that this is not known, or that it was told early.

    `pools` are those that the host is to use, None for those of the agent's own files. `question` asks for samples, if anybody waits for
    them, and `guest_questions` for what single guests did. `repairs` are the guests whose threads somebody wants moved back now.
    """

    count: Revision
    orders: tuple[GuestOrder, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    protocol: Revision = 1
    pools: PoolOrder | None = None
    question: HistoryQuestion | None = None
    guest_questions: tuple[GuestQuestion, ...] = ()
    repairs: tuple[RepairQuestion, ...] = ()
    lease: Renewal | None = None


class ThreadReport(Struct, frozen=True, kw_only=True):
    """The proof of one guest's placement: every thread, the witness, and the drift in sentences. `hangs` says why the guest does not
    answer, '' if it does.

    `reported` is when the service received it, in seconds since the epoch by the service's clock; an agent leaves it 0.
    """

    witness: str
    threads: tuple[SeenThread, ...] = ()
    drift: tuple[str, ...] = ()
    reported: float = 0.0
    hangs: str = ""


class InterfaceFailure(Struct, frozen=True, kw_only=True):
    """Why an interface could not be attached, and is nowhere, or could not be detached, and is as it was."""

    mac: Mac
    why: Failure


class InterfacesReport(Struct, frozen=True, kw_only=True):
    """The MAC addresses of the ordered interfaces that a guest has, and of those to be detached that any of its definitions still has."""

    macs: Macs = ()
    failures: Annotated[tuple[InterfaceFailure, ...], Meta(max_length=2 * MOST_NETWORKS)] = ()


class GuestReport(Struct, frozen=True, kw_only=True):
    """What a guest of that claim is doing. `boot` is the last one that the agent performed, None when the agent does not know.

    `claim` and `revision` are those of the guest's record. An earlier pinfold's has no claim, and names it by the revision.

    `failure` says why that boot failed, '' if it did not; the guest keeps its claim and its disk. A guest whose disk could not be made anew
    may run all the same, from its old one. `unmoved` says why its threads could not
    be moved to the claim's new place, '' if they could or need not be; they are where its record says. `not_paused` says why
    the guest could not be paused as its order says, '' if it could. `interfaces` is left out for a guest without any in its order, and
    while they are being changed.
    """

    revision: Revision
    observed: Observed
    boot: Revision | None = None
    threads: ThreadReport | None = None
    failure: Failure = ""
    not_paused: Failure = ""
    claim: ClaimUuid | None = None
    unmoved: Failure = ""
    interfaces: InterfacesReport | UnsetType = UNSET


class Absence(Struct, frozen=True, kw_only=True):
    """The guest of that claim is gone. `failure` says why its first start failed, '' when it was removed as ordered."""

    revision: Revision
    failure: Failure = ""
    claim: ClaimUuid | None = None
