"""The command line in the test's own process, on a machine without a hypervisor. Commands on real guests are in `tests/real/cli`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pinfold.cli.app import run
from pinfold.cli.session import Parts
from pinfold.core.errors import Unavailable
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command left: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str


Pinfold = Callable[..., Answer]


@contextmanager
def _nobody(settings: HostSettings) -> Iterator[Driver]:
    raise Unavailable(f"libvirt at {settings.uri} cannot be reached: there is none")
    yield


@pytest.fixture
def pinfold(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pinfold:
    """Run one command line and return its answer; the configuration has no pools and no flavors unless `--config` names one."""
    empty = tmp_path / "empty.conf"
    empty.write_text("[pinfold]\nflavors_file = absent.toml\n")
    monkeypatch.setenv("PINFOLD_CONFIG", str(empty))
    monkeypatch.setenv("COLUMNS", "100")

    def _run(*argv: str) -> Answer:
        capsys.readouterr()
        status = run(argv, Parts(open_driver=_nobody))
        captured = capsys.readouterr()
        return Answer(status=status, out=captured.out, err=captured.err)

    return _run
