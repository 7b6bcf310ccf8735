"""A real `pinfold api` whose SQLite file is damaged or deleted; and the how-to that brings it back, run word by word."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.ports import free_port

HOW_TO = Path(__file__).parents[2] / "docs/how-to/back-up-and-restore.md"
PATIENCE = 240.0
FLAVOR = {"flavor": {"id": "f1", "name": "f1", "vcpus": 1, "ram": 64, "disk": 0}}


class Api:
    """`pinfold api` on SQLite in a folder, with an embedded Placement, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir(mode=0o711)
        self.port = free_port()
        self.config = folder / "pinfold.conf"
        self.config.write_text(f"[pinfold]\nstate_dir = {self.state}\n[pinfold_api]\nport = {self.port}\nheal_seconds = 3600\n")
        self.log = folder / "api.log"
        self.environment = os.environ | {"PINFOLD_CONFIG": str(self.config), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    @property
    def database(self) -> Path:
        return self.state / "pinfold.sqlite"

    def start(self) -> None:
        command = [sys.executable, "-m", "pinfold.wiring.command", "api", "--no-auth"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.await_answer()

    def await_answer(self) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.http.get("/healthz")
            except httpx.TransportError:
                assert time.monotonic() < until and (self.process is None or self.process.poll() is None), self.log.read_text()
                time.sleep(0.1)
            else:
                return

    def end(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def refused(self) -> str:
        """The message of a start that fails."""
        command = [sys.executable, "-m", "pinfold.wiring.command", "api", "--no-auth"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 2, done
        (line,) = done.stderr.splitlines()
        return line

    def flavors(self) -> list[str]:
        return [flavor["name"] for flavor in self.http.get("/compute/v2.1/flavors").json()["flavors"]]

    def harm(self, how: str) -> None:
        """Delete the file, or overwrite every page of it and of its log."""
        for path in (self.database, Path(f"{self.database}-wal")):
            if how == "deleted":
                path.unlink(missing_ok=True)
            elif path.exists():
                with path.open("r+b") as file:
                    file.write(b"\xff" * path.stat().st_size)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    made = Api(tmp_path)
    made.start()
    yield made
    made.http.close()
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait(PATIENCE)
    _shell(made, tmp_path, "systemctl stop pinfold-api")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["damaged", "deleted"])
def test_it_says_what_is_wrong_stops_cleanly_and_the_how_to_brings_it_back(api: Api, tmp_path: Path, how: str) -> None:
    backup, check, restore = _blocks(tmp_path)
    assert api.http.post("/compute/v2.1/flavors", json=FLAVOR).status_code == 200
    assert api.http.get("/healthz").status_code == 200
    assert _shell(api, tmp_path, backup) == 0
    api.harm(how)
    for path in ("/healthz", "/compute/v2.1/flavors", "/v1/hosts", "/healthz"):
        answer = api.http.get(path)
        assert answer.status_code == 503 and "the database" in answer.text, (path, answer.status_code, answer.text)
        assert str(api.state) not in answer.text
    assert api.end() in (0, -signal.SIGTERM), "it ends in order"
    log = api.log.read_text()
    assert log.count("pinfold database restore") == 1 and "Traceback" not in log, log
    said = api.refused()
    assert str(api.database) in said and "pinfold database restore BACKUP" in said
    assert "this service's --config" in said
    assert ("is damaged" if how == "damaged" else "is gone") in said
    assert _shell(api, tmp_path, check) == 1
    assert _shell(api, tmp_path, restore) == 0
    api.process = None  # the stand-in of systemctl has started another one
    api.await_answer()
    assert api.flavors() == ["f1"]
    assert api.http.get("/healthz").status_code == 200


@pytest.mark.timeout(900)
def test_a_damaged_placement_is_told_by_healthz_and_made_again_once_it_is_moved_away(api: Api) -> None:
    path = api.state / "placement.sqlite"
    assert api.http.post("/v1/hosts", json={"name": "c1"}).status_code == 201
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    answer = api.http.get("/healthz")
    assert answer.status_code == 503 and "placement" in answer.text
    assert api.end() in (0, -signal.SIGTERM)
    assert "move it away" in api.refused()
    path.rename(path.with_name("away"))
    api.start()
    assert api.http.get("/healthz").status_code == 200


def _blocks(folder: Path) -> list[str]:
    """The three blocks of commands of the how-to, with backups and the configuration of the API in a folder of the test's."""
    found = re.findall(r"^```\n(.*?)^```$", HOW_TO.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(found) == 3
    return [
        block.replace("/var/backups", f"{folder}/backups").replace("/etc/pinfold/api.conf", f"{folder}/pinfold.conf") for block in found
    ]


def _shell(api: Api, folder: Path, commands: str) -> int:
    """Run commands as a shell does. `pinfold` and `systemctl` are this checkout's and a stand-in that starts and ends the same process.

    `$PINFOLD_CONFIG` names the file of another host, so that a command without --config works on another database.
    """
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    run = f'exec {sys.executable} -m pinfold.wiring.command "$@"'
    served = f"{sys.executable} -m pinfold.wiring.command api --no-auth --config {api.config}"
    start = f"setsid {served} >>{api.log} 2>&1 </dev/null & echo $! >{folder}/pid"
    stop = f"[ ! -e {folder}/pid ] || {{ kill $(cat {folder}/pid); rm {folder}/pid; }}"
    for name, text in (
        ("pinfold", run),
        ("systemctl", f'[ "$2" = pinfold-api ] || exit 5\ncase $1 in start) {start} ;; stop) {stop} ;; esac'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    elsewhere = folder / "elsewhere.conf"
    elsewhere.write_text(f"[pinfold]\nstate_dir = {folder}/elsewhere\n")
    environment = api.environment | {"PINFOLD_CONFIG": str(elsewhere), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", commands], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode
