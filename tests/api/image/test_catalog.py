"""The images of a directory."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pinfold.api.image.catalog import FIXED_FIELDS, image_id, inspect_catalog, read_catalog
from pinfold.api.image.routes import view


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


def test_two_files_of_one_name_stop_that_image_alone(tmp_path: Path) -> None:
    for name in ("a.raw", "a.qcow2", "b.raw"):
        (tmp_path / name).write_bytes(b"")
    assert [image.name for image in read_catalog(tmp_path)] == ["b"]
    (problem,) = inspect_catalog(tmp_path).problems
    assert problem == f"{tmp_path}: a.qcow2 and a.raw share one name; one file for each name is allowed"
    (tmp_path / "a.raw").unlink()
    assert [image.name for image in read_catalog(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("name", sorted(FIXED_FIELDS))
def test_a_property_that_the_service_fills_in_itself_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "good.raw").write_bytes(b"")
    (tmp_path / "bad.raw").write_bytes(b"")
    (tmp_path / "bad.toml").write_text(f'{name} = "mine"\n')
    found = inspect_catalog(tmp_path)
    assert [image.name for image in found.images] == ["good"]
    assert found.problems == (
        f"{tmp_path}/bad.toml: {name} is a field that the service fills in, so a property cannot set it; remove it or rename it",
    )


def test_every_field_of_the_image_api_is_one_of_those_or_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"")
    (tmp_path / "a.toml").write_text('min_disk = 1\nmin_ram = 2\nos_distro = "debian"\n')
    (image,) = read_catalog(tmp_path)
    assert set(view(image)) - FIXED_FIELDS == {"min_disk", "min_ram", "os_distro"}


def test_a_fifo_a_link_and_a_folder_stop_nobody_and_hang_nobody(tmp_path: Path) -> None:
    (tmp_path / "good.raw").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.raw")
    (tmp_path / "piped.raw").write_bytes(b"")
    os.mkfifo(tmp_path / "piped.toml")
    (tmp_path / "out.raw").symlink_to("/etc/shadow")
    (tmp_path / "outer.raw").write_bytes(b"")
    (tmp_path / "outer.toml").symlink_to("/etc/hostname")
    (tmp_path / "folder.raw").mkdir()
    found = inspect_catalog(tmp_path)
    assert [image.name for image in found.images] == ["good"]
    assert [problem.removeprefix(f"{tmp_path}/") for problem in found.problems] == [
        "folder.raw: it is a folder; an image is a plain file",
        "out.raw: it is a link; an image is a plain file",
        "outer.toml: cannot be read as a property file (it is a link)",
        "pipe.raw: it is a FIFO; an image is a plain file",
        "piped.toml: a property file must be a plain file of at most 65536 bytes",
    ]


READ = """
import hashlib, json, os, sys  # uuid imports hashlib later, and the other user may not read Python's folder
os.setgroups([]); os.setgid(65534); os.setuid(65534)
from pathlib import Path
from pinfold.api.image.catalog import inspect_catalog
found = inspect_catalog(Path(sys.argv[1]))
print(json.dumps([[image.name for image in found.images], found.problems]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else takes root")
def test_a_file_that_the_service_may_not_read_stops_that_image_alone() -> None:
    with tempfile.TemporaryDirectory(prefix="pf-images-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        for name, mode in (("mine.raw", 0o644), ("yours.raw", 0o600), ("half.raw", 0o644), ("half.toml", 0o600)):
            (Path(folder) / name).write_bytes(b"")
            (Path(folder) / name).chmod(mode)
        code = f"import sys; sys.path[:0] = {[entry for entry in sys.path if entry]!r}; from pinfold.api.image import catalog" + READ
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        names, problems = json.loads(done.stdout)
        assert names == ["mine"]
        assert problems == [
            f"{folder}/half.toml: cannot be read as a property file (Permission denied)",
            f"{folder}/yours.raw: it cannot be read: Permission denied",
        ]


def test_a_problem_is_logged_once_however_the_directory_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "link.raw").symlink_to("/etc/shadow")
    for size in range(3):
        (tmp_path / "growing.raw").write_bytes(b"x" * size)
        read_catalog(tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"not an image: {tmp_path}/link.raw: it is a link; an image is a plain file"
    ]


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
    (tmp_path / "b.raw").write_bytes(b"")
    assert [image.name for image in read_catalog(tmp_path)] == ["b"]
    (problem,) = inspect_catalog(tmp_path).problems
    assert sentence in problem and "\n" not in problem
