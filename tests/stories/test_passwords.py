"""Wrong passwords: the answer beyond the bounds, what is counted, and who goes on working all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.rig.client import COMPUTE as C
from tests.rig.in_process import READER, Fleet, open_fleet

from pinfold.accounting.embedded import Embedded
from pinfold.core.settings import AttemptLimits


@pytest.fixture
def fleet(tmp_path: Path, sqlite_file: Path, embedded: Embedded) -> Iterator[Fleet]:
    with open_fleet(tmp_path, sqlite_file, embedded, limits=AttemptLimits(wrong_per_minute=3, refusal_seconds=0.0)) as made:
        yield made


def test_beyond_the_bound_wrong_passwords_are_answered_429_and_when_to_ask_again(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    reader = httpx.BasicAuth(*READER)
    assert fleet.http.get("/v1/hosts", auth=reader).status_code == 200
    answers = [fleet.http.get(f"{C}/servers", auth=httpx.BasicAuth("alice", f"guess {number}")) for number in range(6)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert set(answers[-1].json()) == {"overLimit"}
    unknown = fleet.http.get("/v1/hosts", auth=httpx.BasicAuth("nobody", "correct horse"))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (429, "too-many-requests")

    assert fleet.http.get("/v1/hosts", auth=reader).status_code == 200, "a password that opened goes on"
    assert fleet.http.post("/v1/fits", json={"flavor": "none"}, auth=reader).status_code != 429
    assert c1.ask("POST", "/heartbeat").status_code == 200, "an agent is never behind passwords"
    told = fleet.http.get("/metrics", auth=reader).text
    assert 'pinfold_password_checks_total{outcome="refused"} 4.0' in told
    assert 'pinfold_password_checks_total{outcome="wrong"} 3.0' in told
    assert "pinfold_password_checks_waiting 0.0" in told
