"""Two starts at the same moment, from processes of their own, never get one pCPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.real.host import racer
from tests.real.host.bench import Bench

import pinfold


def race(bench: Bench, state_dirs: list[str]) -> list[tuple[str, str]]:
    """One process for each state directory, all starting a guest at the same moment; what each of them says."""
    source = str(Path(pinfold.__file__).parents[1])
    running = [
        subprocess.Popen(
            [sys.executable, str(racer.__file__), bench.lab.uri, state_dir, str(bench.rom), f"racer-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": source},
        )
        for number, state_dir in enumerate(state_dirs)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [json.loads(process.communicate(timeout=600)[0]) for process in running]
    return [(word, sentence) for word, sentence in answers]


def test_one_of_two_gets_the_last_pcpu(bench: Bench) -> None:
    answers = race(bench, [bench.settings.state_dir] * 2)
    assert sorted(word for word, _ in answers) == ["refused", "started"], answers
    assert len(bench.driver.guests()) == 1


def test_without_a_common_lock_there_are_never_two_owners(bench: Bench) -> None:
    for number in range(3):
        answers = race(bench, [f"{bench.settings.state_dir}-{number}-{side}" for side in "ab"])
        words = sorted(word for word, _ in answers)
        assert words.count("started") <= 1, answers
        assert set(words) <= {"started", "refused", "Conflict"}, answers
        left = bench.driver.guests()
        assert len(left) == words.count("started"), answers
        for guest in left:
            bench.driver.stop(guest.id, remove=True)
