"""`pinfold advise`: the screen and the document, from a journal with measured hours."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Pinfold
from tests.core.test_advice import QUIET, hour

from pinfold.config import load
from pinfold.core.overhead.advice import OverheadHour
from pinfold.watch.journal import Journal, journal_path

HOURS = (*QUIET, hour(90, busy=0.6, delay_us=900), hour(91, busy=0.9, delay_us=5000, run=1.25))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "pinfold.conf"
    path.write_text(f"[compute]\ncpu_shared_set = 0\n[pinfold]\nstate_dir = {tmp_path / 'state'}\n")
    return path


def keep(config: Path, hours: tuple[OverheadHour, ...]) -> None:
    with closing(Journal(journal_path(load([str(config)], audits=True).settings), days=30, mib=1)) as journal:
        for one in hours:
            journal.add(one)


def test_every_number_comes_with_its_evidence(pinfold: Pinfold, config: Path) -> None:
    keep(config, HOURS)
    answer = pinfold("advise", "--config", str(config))
    assert answer.status == 0, answer.err
    assert " ".join(answer.out.split()) == (
        "Evidence: 26 measured hours; in the worst one overhead threads waited 5,000 us on average before they ran. 1 missed the target of "
        "1,000 us. pCPUs: 3. The busiest hour kept 1.80 pCPUs of the pool busy, and the target was kept where the pool was busy for up to "
        "60% of the time. share or isolate: with share, the overhead threads of a guest ran 125 millicpu in the hour where that was most, "
        "as a mean over the guests; isolate takes a dedicated pCPU, 1,000 millicpu, of each guest. rates: guest_millicpu = 25, "
        "vcpu_millicpu = 3, disk_millicpu = 13, nic_millicpu = 13. In the hour where that was most, guests ran 1.25 times what was booked; "
        "all rates are multiplied by that."
    )
    document = json.loads(pinfold("advise", "--delay-us", "6000", "--config", str(config), "--json").out)
    assert (document["pcpus"], document["missed"], document["busy_allowed"], document["rates"]["guest"]) == (2, 0, 0.9, 25)


def test_too_little_evidence_and_a_host_that_nobody_watched_are_said(pinfold: Pinfold, config: Path) -> None:
    answer = pinfold("advise", "--config", str(config))
    assert answer.status != 0
    assert "`pinfold watch` writes it" in " ".join(answer.err.split())
    keep(config, QUIET[:3])
    answer = pinfold("advise", "--config", str(config))
    assert answer.status == 0
    assert "No advice: too little evidence: 3 of 24 hours are measured" in " ".join(answer.out.split())
