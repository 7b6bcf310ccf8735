"""Builds the Debian package of this tree, for the release of Debian and the architecture that it runs on.

`python -m deb.build [--revision N] [--output FOLDER]` prints the path of what it wrote. It downloads nothing: the Python
packages are those of this environment, which has to be as the lock file says. Where files go is decided here; what is in them, beside it.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

from deb.copyright import copyright_file
from deb.distributions import carried, files
from deb.manpages import man_pages

from pinfold import __version__
from pinfold.config.sample import sample

ROOT: Final = Path(__file__).parents[1]
LIBRARY: Final = "usr/lib/pinfold"
PROGRAMS: Final = {"dpkg-deb": "dpkg", "dpkg-shlibdeps": "dpkg-dev", "strip": "binutils", "git": "git"}
"""What building needs, each with its package."""

_LAUNCHER: Final = """#!/usr/bin/python3 -IS
import os
import sys

usr = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(usr, "lib", "pinfold"))
from pinfold.wiring.command import main

main()
"""
_COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/pinfold",
    "zsh": "usr/share/zsh/vendor-completions/_pinfold",
    "fish": "usr/share/fish/vendor_completions.d/pinfold.fish",
}
_MAINTAINER: Final = "the authors of pinfold <pinfold@localhost>"
_DESCRIPTION: Final = """CPU placement for KVM hosts, audited and measured
 pinfold decides which host CPUs a guest's vCPUs and the hypervisor's own
 threads may run on, and proves from procfs that every thread stays there.
 This package brings what a host needs: the commands, "pinfold watch" with its
 metrics, and the agent of a fleet. It runs beside Nova, libvirt scripts and
 Proxmox, and starts nothing by itself."""


def build(output: Path, revision: str = "1", *, compression: str = "xz") -> Path:
    """Write the package to a folder and return its path. The same commit and revision give the same bytes.

    `compression` is dpkg-deb's word for it: `none` saves most of the time.
    Raises `ValueError` where this machine or its Python environment cannot build it.
    """
    _require()
    version = f"{__version__}-{revision}~{_release()}"
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or _printed("git", "-c", "safe.directory=*", "log", "-1", "--format=%ct"))
    packages = carried(ROOT)
    with tempfile.TemporaryDirectory(prefix="pinfold-deb-") as work:
        tree = Path(work, "tree")
        _library(tree / LIBRARY, packages)
        _write(tree / "usr/bin/pinfold", _LAUNCHER, mode=0o755)
        _documents(tree, version, epoch, packages)
        _settings(tree)
        _completions(tree)
        _control(tree, version)
        _settle(tree, epoch)
        output.mkdir(parents=True, exist_ok=True)
        made = output / f"pinfold_{version}_{_architecture()}.deb"
        # One thread: how xz cuts its blocks depends on how many there are.
        command = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--threads-max=1", "--build", str(tree), str(made)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)})
    return made


def _require() -> None:
    lacking = [f"{name} (package {package})" for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if lacking:
        raise ValueError(f"these programs are missing: {', '.join(lacking)}")
    theirs = _printed("/usr/bin/python3", "-c", "import platform; print(platform.python_version())")
    if theirs.split(".")[:2] != platform.python_version().split(".")[:2]:
        mine = platform.python_version()
        raise ValueError(f"this environment has Python {mine}, and /usr/bin/python3 is {theirs}; build in an environment of that one")


def _library(target: Path, packages: tuple[Distribution, ...]) -> None:
    """Put the packages and pinfold itself below `target`."""
    for one in packages:
        for file in files(one):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target / file)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], check=True, cwd=ROOT, capture_output=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            wheel.extractall(target)
    for compiled in _compiled(target):
        subprocess.run(["strip", "--strip-unneeded", str(compiled)], check=True)


def _documents(tree: Path, version: str, epoch: int, packages: tuple[Distribution, ...]) -> None:
    when = datetime.fromtimestamp(epoch, UTC)
    for name, text in man_pages(__version__, f"{when:%Y-%m-%d}").items():
        _zipped(tree / f"usr/share/man/man1/{name}.gz", text)
    folder = tree / "usr/share/doc/pinfold"
    _write(folder / "copyright", copyright_file(packages))
    _zipped(folder / "changelog.gz", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    change = f"  * Built from the sources of {when:%d %B %Y}; changelog.gz says what has changed."
    entry = f"pinfold ({version}) unstable; urgency=medium\n\n{change}\n\n"
    _zipped(folder / "changelog.Debian.gz", f"{entry} -- {_MAINTAINER}  {when:%a, %d %b %Y %H:%M:%S +0000}\n")


def _settings(tree: Path) -> None:
    _write(tree / "etc/pinfold/pinfold.conf", sample())
    for unit in sorted((ROOT / "deb/units").iterdir()):
        _write(tree / "usr/lib/systemd/system" / unit.name, unit.read_text(encoding="utf-8"))


def _completions(tree: Path) -> None:
    for shell, path in _COMPLETIONS.items():
        environment = {**os.environ, "_PINFOLD_COMPLETE": f"source_{shell}", "PYTHONPATH": str(tree / LIBRARY)}
        command = [sys.executable, "-c", "from pinfold.wiring.command import main; main()"]
        text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip() + "\n"
        # zsh runs the file as the function at the first completion; what Typer prints only defines the function then.
        _write(tree / path, text + '\n_pinfold_completion "$@"\n' if shell == "zsh" else text)


def _control(tree: Path, version: str) -> None:
    major, minor = sys.version_info[:2]
    depends = [f"python3 (>= {major}.{minor}~)", f"python3 (<< {major}.{minor + 1}~)", *_libraries(tree)]
    fields = {
        "Package": "pinfold",
        "Version": version,
        "Architecture": _architecture(),
        "Maintainer": _MAINTAINER,
        "Installed-Size": str(sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024),
        "Depends": ", ".join(depends),
        "Suggests": "libvirt-daemon-system, qemu-utils",
        "Section": "admin",
        "Priority": "optional",
        "Description": _DESCRIPTION,
    }
    _write(tree / "DEBIAN/control", "".join(f"{name}: {value}\n" for name, value in fields.items()))
    _write(tree / "DEBIAN/conffiles", "/etc/pinfold/pinfold.conf\n")
    for script in sorted((ROOT / "deb/scripts").iterdir()):
        _write(tree / "DEBIAN" / script.name, script.read_text(encoding="utf-8"), mode=0o755)


def _libraries(tree: Path) -> list[str]:
    """What the compiled modules need of Debian, libvirt0 among it, in the form of Depends."""
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder, "debian/control"), "Source: pinfold\n\nPackage: pinfold\nArchitecture: any\n")
        command = ["dpkg-shlibdeps", "-O", "--warnings=0", *(f"-e{path}" for path in _compiled(tree / LIBRARY))]
        said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout
    found = said.strip().removeprefix("shlibs:Depends=").split(", ")
    if not any(one.startswith("libvirt0") for one in found):
        raise ValueError(
            f"no compiled module needs libvirt0, only {said.strip()!r}; was libvirt-python built against Debian's libvirt-dev?"
        )
    return found


def _settle(tree: Path, epoch: int) -> None:
    """Give every file the time of the sources and its mode; what may be run is said where it is written."""
    for path in (tree, *tree.rglob("*")):
        programs = path.is_dir() or (path.parent.name in ("DEBIAN", "bin") and path.stat().st_mode & 0o100)
        path.chmod(0o755 if programs else 0o644)
        os.utime(path, (epoch, epoch))
    digests = _printed("find", ".", "-type", "f", "-not", "-path", "./DEBIAN/*", "-exec", "md5sum", "{}", "+", cwd=tree).splitlines()
    _write(tree / "DEBIAN/md5sums", "".join(f"{line.replace('./', '', 1)}\n" for line in sorted(digests, key=lambda line: line.split()[1])))
    os.utime(tree / "DEBIAN/md5sums", (epoch, epoch))
    os.utime(tree / "DEBIAN", (epoch, epoch))


def _compiled(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.so"))


def _release() -> str:
    """The release of this machine as a part of a version that sorts by release.

    `deb12` on Debian 12, `ubuntu24.04` on Ubuntu; a release without a number goes by its name.
    """
    said = platform.freedesktop_os_release()
    name = {"debian": "deb"}.get(said["ID"], said["ID"])
    return name + said.get("VERSION_ID", said.get("VERSION_CODENAME", ""))


def _architecture() -> str:
    return _printed("dpkg", "--print-architecture")


def _printed(*command: str, cwd: Path = ROOT) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout.strip()


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _zipped(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    """Build it, and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--revision", default="1", help="the part of the version after the hyphen; a rebuild of the same version counts it up"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the folder to write to")
    options = parser.parse_args()
    try:
        print(build(options.output, options.revision))
    except ValueError as error:
        sys.exit(f"deb: {error}")


if __name__ == "__main__":
    main()
