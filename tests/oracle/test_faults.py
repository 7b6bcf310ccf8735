"""Every deliberate fault in `faults/*.patch`, applied to a copy of the engine, is found by the oracle. The whole engine: `test_oracle`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAULTS = sorted(Path(__file__).parent.joinpath("faults").glob("*.patch"))
CASES = 10_000
SEED = 20_261_122


def examine_patched(folder: Path, patch: Path) -> subprocess.CompletedProcess[str]:
    """The oracle's run over a copy of the source with the patch applied; its status is 1 as soon as a batch shows a disagreement."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "apply", "--whitespace=nowarn", str(patch)], cwd=folder, check=True, env={**os.environ, "GIT_DIR": os.devnull})
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import pinfold.core; print(pinfold.core.__file__)"],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    assert where.stdout.decode().startswith(str(folder))
    command = [sys.executable, "-m", "tests.oracle.run", "--stop", "--jobs", "1", "--cases", str(CASES), "--seed", str(SEED)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_there_are_ten_faults() -> None:
    assert len(FAULTS) >= 10


@pytest.mark.parametrize("patch", FAULTS, ids=lambda patch: patch.stem)
def test_the_oracle_catches(patch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = examine_patched(tmp_path, patch)
    assert run.returncode == 1, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    found = [line for line in lines if line.startswith(f"{SEED}:")]
    assert found, run.stdout + run.stderr
    with capsys.disabled():
        print(f"\n{patch.stem}: caught within {lines[0].split()[0]} cases: {found[0][:160]}")
