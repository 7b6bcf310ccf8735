"""The Debian package, built from this tree and unpacked: what is in it, and that it runs from where it was unpacked.

It is installed, upgraded and removed in `test_deb_in_a_root.py`.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deb.build import PROGRAMS, ROOT, build
from deb.distributions import canonical, carried

from pinfold.cli.app import COMMANDS
from pinfold.config.sample import sample

_LACKING = [name for name in PROGRAMS if shutil.which(name) is None]
_OTHER_PYTHON = not Path(f"/usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}").is_dir()

pytestmark = [
    pytest.mark.skipif(bool(_LACKING), reason=f"it is built with {', '.join(_LACKING)}"),
    pytest.mark.skipif(_OTHER_PYTHON, reason="it is built for Debian's own Python, and this is another one"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package"), compression="none")


@pytest.fixture(scope="module")
def unpacked(package: Path) -> Path:
    folder = package.with_name("unpacked")
    subprocess.run(["dpkg-deb", "-R", str(package), str(folder)], check=True)
    return folder


def run(unpacked: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The unpacked command, without anything of this process's Python."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PINFOLD"))}
    environment = kept | {"COLUMNS": "200"} | more
    return subprocess.run([str(unpacked / "usr/bin/pinfold"), *words], capture_output=True, text=True, env=environment, check=False)


def field(package: Path, name: str) -> str:
    return subprocess.run(["dpkg-deb", "-f", str(package), name], capture_output=True, text=True, check=True).stdout.strip()


def test_it_needs_the_python_that_its_modules_are_compiled_for_and_libvirts_library(package: Path) -> None:
    depends = field(package, "Depends").split(", ")
    major, minor = sys.version_info[:2]
    assert {f"python3 (>= {major}.{minor}~)", f"python3 (<< {major}.{minor + 1}~)"} <= set(depends)
    assert [one for one in depends if one.startswith("libvirt0 (>= ")]


def test_it_runs_from_where_it_was_unpacked(unpacked: Path) -> None:
    said = run(unpacked, "--version")
    assert said.returncode == 0, said.stderr
    assert re.fullmatch(r"pinfold \S+ \(Python \S+\)\n", said.stdout)
    helped = run(unpacked, "audit", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "--config" in helped.stdout
    fitted = run(unpacked, "fit", "--host-text", "core:4", "--vcpus", "1", "--ram", "64")
    assert fitted.returncode == 0, fitted.stderr


def test_the_parts_of_watch_and_agent_are_in_it(unpacked: Path) -> None:
    modules = "libvirt, prometheus_client, httpx, yaml, pinfold.wiring.watch, pinfold.wiring.agent"
    line = ["/usr/bin/python3", "-IS", "-c", f"import sys; sys.path.insert(0, {str(unpacked / 'usr/lib/pinfold')!r}); import {modules}"]
    assert subprocess.run(line, capture_output=True, text=True, check=False).stderr == ""


def test_a_command_of_the_api_says_that_the_package_has_none(unpacked: Path) -> None:
    said = run(unpacked, "api")
    assert said.returncode == 3
    assert said.stderr.endswith("the Debian package has no API; set it up from a clone of pinfold, with bin/setup --service\n")


def test_every_command_has_a_man_page(unpacked: Path) -> None:
    pages = {path.name: gzip.decompress(path.read_bytes()).decode() for path in (unpacked / "usr/share/man/man1").iterdir()}
    assert set(pages) == {"pinfold.1.gz", *(f"pinfold-{command}.1.gz" for command in COMMANDS)}
    assert "\\-\\-listen" in pages["pinfold-watch.1.gz"]
    assert ".SH EXIT STATUS" in pages["pinfold.1.gz"]


@pytest.mark.skipif(shutil.which("man") is None, reason="man reads the pages")
def test_man_reads_every_page_without_a_warning(unpacked: Path) -> None:
    pages = sorted(map(str, (unpacked / "usr/share/man/man1").iterdir()))
    environment = os.environ | {"LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
    read = subprocess.run(["man", "--warnings=w", "-l", *pages], capture_output=True, text=True, env=environment, check=False)
    assert (read.returncode, read.stderr) == (0, "")


def test_bash_completes_a_command(unpacked: Path) -> None:
    script = '. "$1"; COMP_WORDS=(pinfold aud) COMP_CWORD=1; _pinfold_completion pinfold; echo "${COMPREPLY[@]}"'
    path = {"PATH": f"{unpacked / 'usr/bin'}:{os.environ['PATH']}"}
    file = unpacked / "usr/share/bash-completion/completions/pinfold"
    said = subprocess.run(["bash", "-c", script, "-", str(file)], capture_output=True, text=True, env=os.environ | path, check=False)
    assert (said.stdout, said.stderr) == ("audit\n", "")


def test_the_sample_is_a_conffile_that_sets_nothing(unpacked: Path) -> None:
    assert (unpacked / "DEBIAN/conffiles").read_text() == "/etc/pinfold/pinfold.conf\n"
    assert (unpacked / "etc/pinfold/pinfold.conf").read_text() == sample()
    checked = run(unpacked, "config", "check", str(unpacked / "etc/pinfold/pinfold.conf"), "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_copyright_names_every_python_package_with_its_licence(unpacked: Path) -> None:
    text = (unpacked / "usr/share/doc/pinfold/copyright").read_text(encoding="utf-8")
    packages = carried(ROOT)
    assert len(packages) > 10
    for one in packages:
        name = f"{canonical(one.metadata['Name'])}-{one.version}"
        assert text.count(f"\nLicense: {name}\n") == 2
    assert "Redistribution and use in source and binary forms" in text
    assert not [line for line in text.splitlines() if line and not re.match(r" |[A-Z][A-Za-z-]+: ", line)]


def test_every_file_below_usr_lib_pinfold_belongs_to_a_paragraph_of_copyright(unpacked: Path) -> None:
    text = (unpacked / "usr/share/doc/pinfold/copyright").read_text(encoding="utf-8")
    named = {found.rstrip("/*") for found in re.findall(r"^(?:Files:)? usr/lib/pinfold/(\S+)$", text, re.MULTILINE)}
    there = {path.name for path in (unpacked / "usr/lib/pinfold").iterdir() if not path.name.startswith(("pinfold", "__pycache__"))}
    assert there <= named


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd reads the units")
def test_systemd_finds_nothing_wrong_with_the_units(unpacked: Path) -> None:
    for unit in sorted((unpacked / "usr/lib/systemd/system").iterdir()):
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/pinfold", str(unpacked / "usr/bin/pinfold"))
        tried = unpacked.with_name(unit.name)
        tried.write_text(text, encoding="utf-8")
        said = subprocess.run(["systemd-analyze", "verify", str(tried)], capture_output=True, text=True, check=False)
        assert "pinfold" not in said.stdout + said.stderr


def test_nothing_is_started_or_enabled_by_its_scripts(unpacked: Path) -> None:
    scripts = "".join((unpacked / "DEBIAN" / name).read_text(encoding="utf-8") for name in ("postinst", "prerm", "postrm"))
    assert not re.search(r"\benable\b(?!s)|deb-systemd-invoke (start|restart)|systemctl (start|enable)", scripts)


def test_no_file_holds_the_path_of_this_tree(unpacked: Path) -> None:
    here = str(ROOT).encode()
    assert not [path for path in unpacked.rglob("*") if path.is_file() and here in path.read_bytes()]
