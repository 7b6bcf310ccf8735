"""A separate process that creates or deletes guests, for the tests that kill it; `serve` forks many of one that has imported all."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

from tests.build.requests import pinned
from tests.build.rows import add_guest, wanted

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import EmbeddedPlacement, InProcessClient, load
from pinfold.core.adoption import WantedAdoption
from pinfold.core.encoding import decoder
from pinfold.core.errors import PinfoldError
from pinfold.core.identity import HostId
from pinfold.core.request.model import EmulatorPolicy
from pinfold.scheduler.model import SchedulerSettings
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import assemble
from pinfold.store.database import Database
from pinfold.store.records import Requester

_read_adoption = decoder(WantedAdoption)
CREATING = SchedulerSettings(refresh_seconds=0, late_seconds=-1)
HEALING = SchedulerSettings(claim_seconds=0.1, refresh_seconds=0, late_seconds=-1)


def main(database_url: str, placement_url: str, act: str, *arguments: str) -> None:
    """`create N VCPUS` (it prints a line for each guest), `create-together N VCPUS`, `release GUEST`, `start GUEST`, `repin HOST`,
    `adopt HOST PLAN`, or `heal`.
    """
    database = Database(database_url)
    placement = load(EmbeddedPlacement(url=placement_url)).client
    settings = SchedulerSettings() if act == "create-many" else CREATING if act.startswith("create") else HEALING
    fleet = assemble(database, placement, settings)
    if act in ("create", "create-many"):
        for _ in range(int(arguments[0])):
            request = pinned(int(arguments[1]), emulator=EmulatorPolicy.SHARE)
            guest = add_guest(database, request)
            try:
                outcome = fleet.claimer.create(wanted(guest, request))
            except PinfoldError as error:
                print(json.dumps({"guest": guest, "error": f"{type(error).__name__}: {error}"}), flush=True)
                continue
            if isinstance(outcome, Claimed):
                print(json.dumps({"guest": guest, "host": outcome.host, "taken": str(outcome.fit.taken)}), flush=True)
            else:
                codes = sorted({reason.code.value for one in outcome.refusals for reason in one.no_fit.reasons})
                print(json.dumps({"guest": guest, "refused": codes}), flush=True)
    elif act == "create-together":
        request = pinned(int(arguments[1]), emulator=EmulatorPolicy.SHARE)
        # SQLite takes one write at a time; that several are under way at once is what the tests of many guests want.
        fleet = assemble(database, Placement(InProcessClient(load(EmbeddedPlacement(url=placement_url)).app)), settings)
        fleet.together.create_all([wanted(add_guest(database, request), request) for _ in range(int(arguments[0]))])
    elif act == "release":
        fleet.releaser.release(arguments[0])
    elif act == "start":
        fleet.guests.start(arguments[0])
    elif act == "repin":
        fleet.repinner.apply(HostId(arguments[0]), ())
    elif act == "adopt":
        by = Requester(request="req-1", account="alice", project="p")
        fleet.adopter.adopt(HostId(arguments[0]), _read_adoption(arguments[1], "adoption"), by)
    elif act == "heal":
        fleet.healer.heal()
    elif act == "sync":
        fleet.providers.sync(arguments[0])


def serve() -> None:
    """Fork a claimer for each line of standard input, and answer with its exit status, as `subprocess` has it.

    A line is JSON: `arguments` are those of `main`, `environment` is added to this process's, and `errors` is the file for its errors.
    """
    for module in ("placement.deploy", "placement.wsgi", "placement.db.sqlalchemy.migration"):
        importlib.import_module(module)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            _claim(asked["arguments"], asked["environment"], asked["errors"])
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _claim(arguments: list[str], environment: dict[str, str], errors: str) -> None:
    """What a forked claimer does; it ends here."""
    status = 1
    try:
        os.environ.update(environment)
        with open(errors, "wb", buffering=0) as file:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(file.fileno(), stream.fileno())
        main(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main(*sys.argv[1:])
