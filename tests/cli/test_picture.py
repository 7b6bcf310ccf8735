"""The options of `pinfold host map` that draw something else than one screen."""

from __future__ import annotations

import pytest
from rich.console import RenderableType
from tests.cli.conftest import Pinfold

from pinfold.cli.picture import draw_repeatedly


def test_a_watched_map_is_drawn_again_until_it_is_interrupted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    drawn: list[int] = []

    def draw(width: int) -> list[RenderableType]:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(width)
        return [f"map {len(drawn)}"]

    with pytest.raises(KeyboardInterrupt):
        draw_repeatedly(draw)
    assert drawn == [80, 80]
    assert capsys.readouterr().out == "map 1\n\nmap 2\n\n"


@pytest.mark.parametrize("options", [("--svg", "map.svg", "--watch"), ("--watch", "--json"), ("--svg", "map.svg", "--json")])
def test_a_map_has_one_form(pinfold: Pinfold, options: tuple[str, ...]) -> None:
    answer = pinfold("host", "map", *options)
    assert answer.status == 2
    assert "one of --svg, --watch and --json is allowed, not several" in answer.err
