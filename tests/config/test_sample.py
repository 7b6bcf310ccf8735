"""The generated sample."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from pinfold.config import load
from pinfold.config.check import misspelled
from pinfold.config.options import GROUPS
from pinfold.config.parse import read_entries
from pinfold.config.sample import sample


def test_every_option_stands_in_the_sample_once() -> None:
    lines = sample().splitlines()
    for group in GROUPS:
        assert lines.count(f"[{group.name}]") == 1
        after = lines[lines.index(f"[{group.name}]") + 1 :]
        section = list(takewhile(lambda line: not line.startswith("["), after))
        for opt in group.options:
            assert sum(line.startswith(f"#{opt.name} =") for line in section) == 1, opt.name


def test_the_sample_as_it_is_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sample.conf"
    path.write_text(sample())
    assert read_entries(str(path)) == ()
    assert load([str(path)]).settings.pools == load(()).settings.pools


def test_the_defaults_written_out_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sample.conf"
    path.write_text(
        "\n".join(line[1:] if line.startswith("#") and " = " in line and line[1] != " " else line for line in sample().splitlines())
    )
    assert len(read_entries(str(path))) > 10
    assert misspelled(read_entries(str(path))) == ()
    ours, defaults = load([str(path)]).settings, load(()).settings
    assert (ours.pools, ours.limits, ours.strategy, ours.state_dir) == (
        defaults.pools,
        defaults.limits,
        defaults.strategy,
        defaults.state_dir,
    )
