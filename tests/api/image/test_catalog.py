"""The images of a directory."""

from pathlib import Path

import pytest

from pinfold.api.image.catalog import image_id, read_catalog
from pinfold.core.errors import InvalidRequest


def test_an_absent_directory_holds_no_image(tmp_path: Path) -> None:
    assert read_catalog(tmp_path / "none") == ()


def test_images_are_read_with_their_properties_in_order_of_name(tmp_path: Path) -> None:
    (tmp_path / "b.qcow2").write_bytes(b"x" * 10)
    (tmp_path / "a.rom").write_bytes(b"y")
    (tmp_path / "b.toml").write_text('hw_cpu_policy = "dedicated"\nmin_disk = 3\nhw_numa_nodes = 2\nhw_locked_memory = true\n')
    first, second = read_catalog(tmp_path)
    assert (first.name, first.disk_format, first.properties) == ("a", "raw", ())
    assert (second.name, second.disk_format, second.size, second.min_disk_gib) == ("b", "qcow2", 10, 3)
    assert second.properties == (("hw_cpu_policy", "dedicated"), ("hw_locked_memory", "true"), ("hw_numa_nodes", "2"))
    assert second.id == image_id("b")


def test_what_is_no_plain_file_of_the_directory_is_no_image(tmp_path: Path) -> None:
    outside = tmp_path / "outside.raw"
    outside.write_bytes(b"secret")
    images = tmp_path / "images"
    images.mkdir()
    (images / "link.raw").symlink_to(outside)
    (images / "folder.raw").mkdir()
    (images / ".hidden.raw").write_bytes(b"")
    (images / "notes.txt").write_bytes(b"")
    assert read_catalog(images) == ()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"")
    (tmp_path / "a.qcow2").write_bytes(b"")
    with pytest.raises(InvalidRequest, match="an image of that name exists already"):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("a = ", "cannot be read as a property file", id="broken TOML"),
        pytest.param("[a]\nb = 1", "property 'a' must be a text", id="a table"),
        pytest.param("a = 1.5", "property 'a' must be a text", id="a fraction"),
        pytest.param('a = "' + "x" * 256 + '"', "property 'a' must be a text", id="a long text"),
        pytest.param('min_ram = "much"', "min_ram is 'much'", id="a number that is none"),
        pytest.param("\n".join(f"k{n} = 1" for n in range(300)), "300 properties, at most 256", id="too many"),
    ],
)
def test_a_bad_property_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.raw").write_bytes(b"")
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InvalidRequest, match=sentence):
        read_catalog(tmp_path)
