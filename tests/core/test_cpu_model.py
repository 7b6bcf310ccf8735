"""The configured processor: flags as Nova writes them, and options that contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinfold.config.host import load
from pinfold.core.cpu_model import DEFAULT_CPU, CpuFlag, CpuMode, CpuModel, cpu_flag
from pinfold.core.errors import InvalidRequest


@pytest.mark.parametrize(("text", "name", "present"), [("pcid", "pcid", True), ("+SSBD", "ssbd", True), (" -mtrr ", "mtrr", False)])
def test_a_flag_is_given_or_taken_away(text: str, name: str, present: bool) -> None:
    assert cpu_flag(text) == CpuFlag(name=name, present=present)


@pytest.mark.parametrize("text", ["", "-", "a b", "<x/>"])
def test_what_is_no_name_of_a_feature_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is no feature of a processor"):
        cpu_flag(text)


def _loaded(tmp_path: Path, *lines: str) -> CpuModel:
    file = tmp_path / "pinfold.conf"
    file.write_text("[libvirt]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return load([str(file)]).settings.cpu


def test_novas_options_are_read(tmp_path: Path) -> None:
    assert _loaded(tmp_path) == DEFAULT_CPU
    found = _loaded(tmp_path, "cpu_mode = custom", "cpu_models = Cascadelake-Server, Skylake-Server", "cpu_model_extra_flags = pcid,-mtrr")
    assert found == CpuModel(
        mode=CpuMode.CUSTOM, models=("Cascadelake-Server", "Skylake-Server"), flags=(cpu_flag("pcid"), cpu_flag("-mtrr"))
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("cpu_mode = fast",), "cpu_mode"),
        (("cpu_mode = custom",), "'custom' needs cpu_models, the best model first"),
        (("cpu_models = EPYC",), "'EPYC' needs cpu_mode = custom"),
        (("cpu_mode = none", "cpu_model_extra_flags = pcid"), "'pcid' needs another cpu_mode than none"),
        (("cpu_model_extra_flags = a b",), "is no feature of a processor"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        _loaded(tmp_path, *lines)
    assert said in str(error.value)
    assert "pinfold.conf" in str(error.value)
