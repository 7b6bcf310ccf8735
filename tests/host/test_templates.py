"""The templates of a host: which are reported, and which text is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinfold.core.bounds import MAX_TEMPLATE
from pinfold.core.errors import InvalidRequest
from pinfold.host import templates


def test_files_whose_names_are_templates_are_reported(tmp_path: Path) -> None:
    for name in ("web.xml", "b-2.xml", ".hidden.xml", "notes.txt", "a b.xml", ".xml"):
        (tmp_path / name).touch()
    assert templates.names(tmp_path) == ("b-2", "web")
    assert templates.names(tmp_path / "missing") == ()
    assert templates.names(tmp_path / "web.xml") == ()


def test_the_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_text("<domain/>", encoding="utf-8")
    assert templates.read(tmp_path, "web") == "<domain/>"


@pytest.mark.parametrize("name", ["../web", "/etc/passwd", "", "a/b", ".web", "x" * 64, "web\n"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="is not the name of a template"):
        templates.read(tmp_path, name)


def test_what_is_no_text_of_a_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"there is no template web in .* \(\[pinfold\] templates_dir\)"):
        templates.read(tmp_path, "web")
    (tmp_path / "link.xml").symlink_to("/etc/passwd")
    (tmp_path / "binary.xml").write_bytes(b"\xff\xfe")
    (tmp_path / "long.xml").write_bytes(b" " * (MAX_TEMPLATE + 1))
    (tmp_path / "folder.xml").mkdir()
    for name, said in (
        ("link", "cannot be opened"),
        ("binary", "not text in UTF-8"),
        ("long", "is larger than"),
        ("folder", "regular file"),
    ):
        with pytest.raises(InvalidRequest, match=said):
            templates.read(tmp_path, name)
