"""A virtual environment for Nova, made once and kept in the user's cache; and the two workers. What they are asked belongs to `run`."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.fit.scenarios import Scenario

NOVA = "34.0.0"
ROOT = Path(__file__).resolve().parents[2]


def nova_python() -> Path:
    """The interpreter that has Nova, from PyPI; about a minute the first time. With `uv` where it is there, else with venv and pip."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinfold" / f"nova-{NOVA}"
    python, mark = cache / "bin" / "python", cache / "complete"
    if mark.exists():
        return python
    shutil.rmtree(cache, ignore_errors=True)
    print(f"making an environment for nova {NOVA} in the user's cache", flush=True)
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(cache)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), f"nova=={NOVA}"], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(cache)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"nova=={NOVA}"], check=True)
    mark.touch()
    return python


class Worker:
    """One side's process. `ask` gives its answer, or None after the time limit, and then the process is a new one."""

    def __init__(self, python: Path, module: str, *paths: Path) -> None:
        self._command = [str(python), "-m", module]
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(path) for path in paths), "PYTHONHASHSEED": "0"}
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.versions: dict[str, str] = json.loads(self._process.stdout.readline())

    def ask(self, command: str, scenario: Scenario, limit_s: float = 600.0) -> dict[str, Any] | None:
        """The worker's answer. Raises `RuntimeError` with the worker's own error."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"command": command, "scenario": dataclasses.asdict(scenario)}) + "\n")
        stdin.flush()
        if not select.select([stdout], [], [], limit_s)[0]:
            self.close()
            self._start()
            return None
        answer: dict[str, Any] = json.loads(stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{scenario.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
