"""The accounts of a running API follow their file: removed accounts lose their rights, a damaged file changes nothing and is told of."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real.access.rig import ADMIN, READER, Api, account, both, write_private
from tests.real.patience import until
from tests.rig.processes import ending

pytestmark = pytest.mark.real_placement


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(tmp_path_factory.mktemp("api"))
    with ending(made.process):
        made.process.start()
        yield made


@pytest.fixture
def api(running: Api) -> Iterator[Api]:
    """The API with its two accounts, as it began."""
    yield running
    write_private(running.accounts, both())
    until(lambda: running.status(ADMIN) == running.status(READER) == 200, "both may ask again")


def test_a_removed_account_may_nothing_within_seconds_though_its_password_is_remembered(api: Api) -> None:
    assert api.status(READER) == 200
    write_private(api.accounts, account(ADMIN[0], "admin", ADMIN[1]))
    until(lambda: api.status(READER) == 401, "the reader is out")
    assert api.status(ADMIN) == 200


def test_a_new_account_and_a_new_password_count_without_a_restart(api: Api) -> None:
    carol = ("carol", "new")
    assert api.status(carol) == 401
    write_private(api.accounts, both() + account(*carol[:1], "reader", carol[1]))
    until(lambda: api.status(carol) == 200, "she may ask")
    write_private(api.accounts, account(ADMIN[0], "admin", "another") + account(READER[0], "reader", READER[1]))
    until(lambda: api.status(ADMIN) == 401, "the old password opens nothing")
    assert api.status((ADMIN[0], "another")) == 200


def test_a_change_in_place_of_the_same_size_and_time_counts(api: Api) -> None:
    before, text = api.accounts.stat(), api.accounts.read_text()
    with api.accounts.open("r+") as file:
        file.write(text.replace("reader:reader", "chloe1:reader"))
    os.utime(api.accounts, ns=(before.st_atime_ns, before.st_mtime_ns))
    until(lambda: api.status(READER) == 401, "the reader is out")


@pytest.mark.parametrize("how", ["a line that is none", "a mode", "gone", "emptied", "a FIFO"])
def test_a_damaged_file_keeps_the_accounts_of_before_and_is_told_of(api: Api, how: str) -> None:
    match how:
        case "a line that is none":
            write_private(api.accounts, both() + "dave:owner:secret\n")
        case "a mode":
            api.accounts.chmod(0o660)
        case "gone":
            api.accounts.unlink()
        case "emptied":
            write_private(api.accounts, "")
        case _:
            api.accounts.unlink()
            os.mkfifo(api.accounts, 0o600)
    until(lambda: api.ask("GET", "/healthz", None).json()["accounts"] == "stale", "health says so")
    assert api.status(ADMIN) == api.status(READER) == 200
    assert "pinfold_accounts_stale 1.0" in api.ask("GET", "/metrics").text
    said = f"the accounts stay as they were, since their file cannot be used: {api.accounts}"
    assert said in api.process.errors()
    assert "secret" not in api.process.errors()
    if how == "a FIFO":
        api.accounts.unlink()
    write_private(api.accounts, both())
    until(lambda: api.ask("GET", "/healthz", None).json()["accounts"] == "ok", "health says that it is mended")


def test_sighup_reads_them_at_once_and_ends_nothing(api: Api) -> None:
    pid, said = api.process.pid, len(api.process.errors())
    write_private(api.accounts, account(ADMIN[0], "admin", ADMIN[1]))
    api.process.send(signal.SIGHUP)
    until(lambda: "was read again: removed reader; changed admin" in api.process.errors()[said:], "the log tells it")
    assert api.status(READER) == 401
    for _ in range(50):
        api.process.send(signal.SIGHUP)
    until(lambda: "was read again; it is as it was" in api.process.errors()[said:], "the log tells that too")
    assert api.status(ADMIN) == 200
    assert "SIGHUP: the configuration was read again; it is what this process runs with" in api.process.errors()[said:]
    assert (api.process.running, api.process.pid) == (True, pid)


def test_sighup_during_the_start_ends_nothing(tmp_path: Path) -> None:
    api = Api(tmp_path)
    with ending(api.process):
        api.process.start(wait=False)
        until(lambda: b"SigCgt" in (status := Path(f"/proc/{api.process.pid}/status").read_bytes()) and _catches(status), "it hears SIGHUP")
        api.process.send(signal.SIGHUP)
        api.process.await_ready()
        assert api.status(ADMIN) == 200


def _catches(status: bytes) -> bool:
    caught = next(line for line in status.splitlines() if line.startswith(b"SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGHUP - 1) & 1)
