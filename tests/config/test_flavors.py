"""The flavors file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinfold.config.flavors import find_flavor, read_flavors
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor

GOOD = """\
[flavors."rt.share"]
vcpus = 4
ram = 2048
disk = 1
[flavors."rt.share".properties]
"hw:cpu_policy" = "dedicated"
"hw:numa_nodes" = 2
"hw:locked_memory" = true

[flavors.plain]
vcpus = 1
ram = 512
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "flavors.toml"
    path.write_text(text)
    return str(path)


def test_flavors_are_read_with_their_properties_as_texts(tmp_path: Path) -> None:
    flavors = read_flavors(_file(tmp_path, GOOD))
    specs = (("hw:cpu_policy", "dedicated"), ("hw:locked_memory", "true"), ("hw:numa_nodes", "2"))
    assert flavors == {
        "rt.share": Flavor(name="rt.share", vcpus=4, memory_mib=2048, disk_gib=1, extra_specs=specs),
        "plain": Flavor(name="plain", vcpus=1, memory_mib=512),
    }


def test_a_flavor_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = _file(tmp_path, GOOD)
    with pytest.raises(InvalidRequest, match=r"has no flavor 'rt.shar'; rt.share is near"):
        find_flavor(path, "rt.shar")
    with pytest.raises(InvalidRequest, match=r"has no flavor 'zzz'; it has rt.share, plain"):
        find_flavor(path, "zzz")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("[flavors.a\n", "is not TOML", id="not TOML"),
        pytest.param("x = [" * 5000, "is not TOML", id="nested without end"),
        pytest.param("[flavor.a]\nvcpus = 1\n", "'flavor' is not allowed; tables [flavors.\"NAME\"] are", id="a table of another name"),
        pytest.param("flavors = 3\n", "flavors is not a table", id="flavors that are a number"),
        pytest.param("[flavors]\na = 3\n", "is not a table with vcpus, ram, disk and properties", id="a flavor that is a number"),
        pytest.param("[flavors.a]\nvcpus = 1\n", "flavor 'a' has no ram", id="no memory"),
        pytest.param("[flavors.a]\nram = 1\n", "flavor 'a' has no vcpus", id="no vCPUs"),
        pytest.param("[flavors.a]\nvcpus = 0\nram = 1\n", "vcpus is '0'; a whole number from 1 to 8192 is allowed", id="no vCPU at all"),
        pytest.param("[flavors.a]\nvcpus = true\nram = 1\n", "vcpus is 'True'; a whole number", id="a truth for a number"),
        pytest.param("[flavors.a]\nvcpus = 1.5\nram = 1\n", "vcpus is '1.5'; a whole number", id="half a vCPU"),
        pytest.param("[flavors.a]\nvcpus = 1\nram = -4\n", "ram is '-4'; a whole number", id="negative memory"),
        pytest.param(
            "[flavors.a]\nvcpus = 1\nram = 1\nmemory = 3\n", "'memory' is not allowed; vcpus, ram (MiB), disk (GiB)", id="an unknown field"
        ),
        pytest.param("[flavors.a]\nvcpus = 1\nram = 1\nvcpu = 3\n", "'vcpu' is not allowed; vcpus is meant", id="a near field"),
        pytest.param(
            "[flavors.a]\nvcpus = 1\nram = 1\n'hw:cpu_policy' = 'x'\n", "extra specs stand in its table properties", id="a spec outside"
        ),
        pytest.param(
            "[flavors.a]\nvcpus = 1\nram = 1\n[flavors.a.properties]\nhw.cpu_policy = 'x'\n",
            "property 'hw' is a table; quote the key",
            id="no quotes",
        ),
        pytest.param(
            "[flavors.a]\nvcpus = 1\nram = 1\n[flavors.a.properties]\n'hw:x' = [1]\n",
            "a text of at most 1024 characters, in a key of at most 255, is allowed",
            id="a list",
        ),
        pytest.param("[flavors.' ']\nvcpus = 1\nram = 1\n", "has a name that is not allowed", id="a blank name"),
    ],
)
def test_a_slip_is_refused_naming_file_flavor_and_key(tmp_path: Path, text: str, sentence: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(InvalidRequest) as caught:
        read_flavors(path)
    assert sentence in str(caught.value)
    assert path in str(caught.value)


def test_the_file_holds_whatever_a_request_may_be(tmp_path: Path) -> None:
    most = 2**31 - 1
    properties = "".join(f"'x:{number}' = '{'v' * 1024}'\n" for number in range(512))
    text = f"[flavors.a]\nvcpus = 8192\nram = {most}\ndisk = {most}\n[flavors.a.properties]\n{properties}"
    (flavor,) = read_flavors(_file(tmp_path, text)).values()
    assert compile_request(flavor).memory_mib == most
    for old, new in ((f"ram = {most}", f"ram = {most + 1}"), ("'x:0'", "'x:more' = ''\n'x:0'"), ("'v", "'vv")):
        with pytest.raises(InvalidRequest):
            read_flavors(_file(tmp_path, text.replace(old, new, 1)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"flavors file .*absent.toml cannot be read: No such file"):
        read_flavors(str(tmp_path / "absent.toml"))
