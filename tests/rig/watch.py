"""The judge beside a test: a process of its own that watches while the test works. What it looks for stands in `tests.survive.judge`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.real.patience import until
from tests.rig import loaded

from pinfold.lab.daemon import LabHost


class Watch:
    """One judge. `settings` tells, each time anew, what it has to know; its files lie in `folder`."""

    def __init__(self, folder: Path, settings: Callable[[], dict[str, Any]]) -> None:
        self._folder = folder
        self._settings = settings
        self._watching: loaded.Started | None = None

    def start(self, stack: contextlib.ExitStack) -> None:
        """Watch from now on, until the stack unwinds."""
        config = self._write("judge.json")
        judge = self._watching = self._judge("watch", config, self._result)
        stack.callback(judge.wait, 240)
        stack.callback(judge.send_signal, signal.SIGTERM)
        until(self._result.exists, "the judge watches")

    def verdict(self) -> dict[str, Any]:
        """What was found so far, a whole sample that began only now included; a broken promise fails the test."""
        assert self._watching is not None
        before, judge = self._found()["samples"], self._watching

        def looked() -> dict[str, Any] | None:
            now = self._found()
            if now["samples"] > before + 1:  # one may have been under way
                return now
            judge.send_signal(signal.SIGUSR1)
            return None

        found: dict[str, Any] = until(looked, "the judge looks", pause=0.05)
        assert found["broken"] == [], found["broken"]
        return found

    def await_rest(self, *, seconds: float = 240.0) -> None:
        """Wait until everything is equal and nothing is left over; fails with what the judge says otherwise."""
        config, result = self._write("rest.json"), self._folder / "rest.result"
        said: list[str] = []

        def at_rest() -> bool:
            result.unlink(missing_ok=True)
            status = self._judge("rest", config, result).wait()
            assert result.exists(), self._log.read_text()
            said[:] = json.loads(result.read_text())["broken"]
            return status == 0

        try:
            until(at_rest, "all is at rest", seconds=seconds, pause=1.0)
        except AssertionError as error:
            raise AssertionError(f"{error}; the judge says: {said}") from error

    def _judge(self, mode: str, config: Path, result: Path) -> loaded.Started:
        with open(os.devnull) as nothing, self._log.open("ab") as log:
            streams = (nothing.fileno(), log.fileno(), log.fileno())
            return loaded.start("judge", (mode, str(config), str(result)), loaded.importing(), streams)

    @property
    def _log(self) -> Path:
        return self._folder / "judge.log"

    @property
    def _result(self) -> Path:
        return self._folder / "judge.result"

    def _found(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._result.read_text())
        return found

    def _write(self, name: str) -> Path:
        config = self._folder / name
        config.touch(mode=0o600)
        config.write_text(json.dumps(self._settings()))
        return config


def settings_of(database: str, placement: dict[str, str], hosts: list[tuple[str, LabHost, Path]]) -> dict[str, Any]:
    """What a judge has to know: the database, Placement's address and account, and `(name, lab, state directory)` of each host."""
    told = [
        {"name": name, "uri": lab.uri, "run": str(lab.run_dir), "records": str(lab.folder.records), "state": str(state)}
        for name, lab, state in hosts
    ]
    address = database.removeprefix("sqlite:///").replace("postgresql+psycopg2://", "postgresql://")
    return {"database": address, "placement": placement, "hosts": told, "seconds": 0.5}
