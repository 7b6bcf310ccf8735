"""A dry run that reads Nova's configuration prints a command that reads it too: typed as it is, it does what was shown. Real guests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from tests.real.host import domains
from tests.real.host.bench import DEDICATED, Bench

from pinfold.cli.app import run
from pinfold.cli.session import Parts
from pinfold.config import find
from pinfold.core.cpuset import CpuSet
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}
Typed = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def nova_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nova's configuration in its usual place, of which a part is in the folder beside it. There is none of pinfold's."""
    folder = tmp_path / "nova"
    (folder / "nova.conf.d").mkdir(parents=True)
    file = folder / "nova.conf"
    file.write_text(f"[compute]\ncpu_dedicated_set = 2-15,18-31\n[pinfold]\nstate_dir = {tmp_path / 'state'}\n")
    (folder / "nova.conf.d" / "shared.conf").write_text("[compute]\ncpu_shared_set = 0\n")
    own = str(tmp_path / "absent" / "pinfold.conf")
    monkeypatch.setitem(find.find_files.__kwdefaults__, "own_file", own)
    monkeypatch.setitem(find.find_files.__kwdefaults__, "nova_file", str(file))
    monkeypatch.delenv("PINFOLD_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return file


@pytest.fixture
def typed(synthetic_bench: Bench, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Run a command line on the synthetic host. Its exit status, standard output and standard error."""

    @contextmanager
    def open_driver(settings: HostSettings) -> Iterator[Driver]:
        yield synthetic_bench.driver

    def _run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run(words, Parts(open_driver=open_driver))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return _run


def printed(shown: str, file: Path) -> list[str]:
    """The words after `pinfold` of the command that a dry run prints, which names that file and no other."""
    found = re.search(r"`pinfold (.*? --apply)`", shown)
    assert found is not None, shown
    words = shlex.split(found[1])
    assert [after for word, after in pairwise(words) if word == "--config"] == [str(file)]
    return words


def emulator(bench: Bench) -> CpuSet | None:
    record = bench.guest("web").record
    assert record is not None
    return record.fit.emulator


def test_host_pools_moves_guests_to_the_pool_that_it_showed(synthetic_bench: Bench, nova_conf: Path, typed: Typed) -> None:
    old = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    old.start(old.order("web", SHARE))
    status, shown, _ = typed("host", "pools")
    assert status == 1 and re.search(r"0-1 +0\b", shown), shown
    status, _, err = typed("host", "pools", "--apply")
    assert status == 2 and f"{nova_conf} is read only by name: --config {nova_conf}" in " ".join(err.split()), err
    assert emulator(synthetic_bench) == CpuSet.parse("0-1"), "a refusal moves nothing"

    status, shown, err = typed(*printed(shown, nova_conf))
    assert status == 0, (shown, err)
    assert emulator(synthetic_bench) == CpuSet.parse("0")
    assert typed("host", "pools")[0] == 0, "every guest is where these pools put it"


def test_guest_adopt_adopts_into_the_pools_that_it_showed(synthetic_bench: Bench, nova_conf: Path, typed: Typed) -> None:
    domains.define(synthetic_bench, "web")
    status, shown, err = typed("guest", "adopt", "web")
    assert status == 0, (shown, err)
    status, shown, err = typed(*printed(shown, nova_conf))
    assert status == 0, (shown, err)
    record = synthetic_bench.guest("web").record
    assert record is not None and record.fit.float_set == CpuSet.parse("0")


def test_host_repin_frees_the_pcpus_that_it_showed(synthetic_bench: Bench, nova_conf: Path, typed: Typed) -> None:
    old = synthetic_bench.with_pools(shared="0-1", dedicated="2-3")
    old.start(old.order("web", DEDICATED))
    nova_conf.write_text(nova_conf.read_text().replace("2-15,18-31", "4-15,18-31"))
    status, shown, err = typed("host", "repin")
    assert status == 0 and "vCPU 0" in shown, (shown, err)
    status, shown, err = typed(*printed(shown, nova_conf))
    assert status == 0, (shown, err)
    record = synthetic_bench.guest("web").record
    assert record is not None and CpuSet(cpu for _, cpu in record.fit.pins) <= CpuSet.parse("4-15,18-31")
