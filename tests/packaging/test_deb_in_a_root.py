"""The Debian package on a host of its own: installed, upgraded, removed and purged in a debootstrap root, and its watch under systemd.

Marked `slow`: the root takes minutes to make, once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deb.build import PROGRAMS, ROOT, build
from tests import starving_page
from tests.packaging import debian_root
from tests.packaging.debian_root import Machine

from pinfold.lab import rom

_LACKING = [*(name for name in PROGRAMS if shutil.which(name) is None), *debian_root.lacking()]
PAGE = (ROOT / "docs/how-to/install-the-debian-package.md").read_text(encoding="utf-8")
SETTING = "reserved_host_memory_mb = 1234"
DOMAIN = """<domain type='qemu'><name>web</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><loader readonly='yes' type='rom'>/var/lib/libvirt/images/idle.rom</loader></os></domain>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(_LACKING), reason=f"it needs {', '.join(_LACKING)}"),
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two packages, the second a later one. The sample of the first is another one, and it has a file that is gone in the second."""
    folder = tmp_path_factory.mktemp("packages")
    built = build(folder / "before", revision="1", compression="none")
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "-R", str(built), str(tree)], check=True)
    with (tree / "etc/pinfold/pinfold.conf").open("a") as sample:
        sample.write("# an option that is gone\n")
    (tree / "usr/lib/pinfold/pinfold/gone.py").write_text("GONE = True\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), str(built)], check=True, stdout=subprocess.DEVNULL)
    return built, build(folder / "after", revision="2", compression="none")


@pytest.fixture
def plain(packages: tuple[Path, Path], tmp_path: Path) -> Iterator[Machine]:
    with debian_root.machine(tmp_path / "machine", *packages) as made:
        yield made


@pytest.fixture
def booted(packages: tuple[Path, Path], tmp_path: Path) -> Iterator[Machine]:
    idle = rom.write(tmp_path / "idle.rom")
    with debian_root.machine(tmp_path / "machine", *packages, idle, systemd=True) as made:
        yield made


def blocks(heading: str) -> list[str]:
    """The blocks of the page below a heading."""
    part = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```\w*\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (build(tmp_path / name) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_it_is_installed_upgraded_removed_and_purged(plain: Machine, packages: tuple[Path, Path]) -> None:
    before, after = (f"/srv/{path.name}" for path in packages)
    plain.run(f"apt-get install -y {before}")
    assert plain.run("pinfold --version").startswith("pinfold ")
    assert "--connect" in plain.run("pinfold audit --help")
    assert "pinfold-audit - " in plain.run("man pinfold-audit")
    assert plain.run("ls /usr/lib/pinfold/pinfold/__pycache__ | grep gone")

    plain.run(f"sed -i 's/^#reserved_host_memory_mb =.*/{SETTING}/' /etc/pinfold/pinfold.conf")
    plain.run("mkdir -p /var/lib/pinfold/overlays/host && echo disk > /var/lib/pinfold/overlays/host/web.qcow2")
    plain.run("touch /var/lib/pinfold/host-1.journal /etc/pinfold/agent.token")
    plain.run(f"apt-get install -y -o Dpkg::Options::=--force-confdef {after}")
    assert plain.run("dpkg-query -W -f '${Version}' pinfold").startswith(after.split("_")[1])
    assert SETTING in plain.run("cat /etc/pinfold/pinfold.conf")
    assert not plain.run("find /usr/lib/pinfold -name 'gone*'")

    plain.run("apt-get remove -y pinfold")
    assert not plain.run("find /usr/lib/pinfold /usr/bin/pinfold 2>/dev/null || true")
    assert SETTING in plain.run("cat /etc/pinfold/pinfold.conf")
    plain.run("test -e /var/lib/pinfold/host-1.journal")

    plain.run("apt-get purge -y pinfold")
    assert plain.run("find /etc/pinfold /var/lib/pinfold -type f").split() == [
        "/etc/pinfold/agent.token",
        "/var/lib/pinfold/overlays/host/web.qcow2",
    ]


def test_a_purge_leaves_nothing_where_nothing_was_added(plain: Machine, packages: tuple[Path, Path]) -> None:
    plain.run("find / -xdev -not -path '/var/log/*' -not -path '/var/cache/*' -not -path '/var/lib/dpkg/*' | sort > /tmp/before")
    plain.run(f"apt-get install -y /srv/{packages[1].name} && pinfold --version && apt-get purge -y pinfold")
    plain.run("find / -xdev -not -path '/var/log/*' -not -path '/var/cache/*' -not -path '/var/lib/dpkg/*' | sort > /tmp/after")
    assert plain.run("diff /tmp/before /tmp/after || true") == ""


def test_every_shell_completes_a_command(plain: Machine, packages: tuple[Path, Path]) -> None:
    plain.run(f"apt-get install -y /srv/{packages[1].name}")
    bash = ". /usr/share/bash-completion/bash_completion; _completion_loader pinfold; COMP_WORDS=(pinfold aud) COMP_CWORD=1"
    assert plain.run(f'{bash}; _pinfold_completion pinfold; echo "${{COMPREPLY[@]}}"') == "audit\n"
    assert plain.run("fish -c 'complete -C \"pinfold aud\"'").startswith("audit")
    zsh = r"""zmodload zsh/zpty
zpty shell 'PS1=READY zsh -f -i'
zpty -w shell 'autoload -Uz compinit; compinit -u; PS1=ASK'
zpty -r shell found '*ASK*ASK*'
zpty -w -n shell $'pinfold aud\t'
zpty -r shell found '*pinfold audit*' && print completed
zpty -d shell"""
    plain.run(f"cat > /srv/ask.zsh <<'END'\n{zsh}\nEND")
    assert "completed" in plain.run("timeout 60 zsh -f /srv/ask.zsh")


def test_a_new_user_watches_guests_that_virsh_made(booted: Machine, packages: tuple[Path, Path]) -> None:
    """The how-to page, followed to the letter but for the numbers of the pCPUs."""
    install, watch, options = blocks("Install it")[0], blocks("Watch the host")[0], blocks("Watch the host")[2]
    booted.run(f"mkdir /srv/later && mv /srv/{packages[1].name} /srv/later")
    for line in install.splitlines():
        status, said = booted.ask(f"cd /srv; {line.replace('apt-get', 'apt-get -y')}")
        assert status == 0 or (status == 1 and line == "pinfold doctor"), said
    assert booted.ask("systemctl is-enabled pinfold-watch pinfold-agent") == (1, "disabled\ndisabled\n")
    assert booted.ask("systemctl is-active pinfold-watch pinfold-agent")[1] == "inactive\ninactive\n"

    booted.run("install -m 644 /srv/idle.rom /var/lib/libvirt/images/idle.rom")
    booted.run(f"cat > /srv/web.xml <<'END'\n{DOMAIN}\nEND\nvirsh create /srv/web.xml")
    booted.run(
        "sed -i 's/^#cpu_shared_set =.*/cpu_shared_set = 0/; s/^#cpu_dedicated_set =.*/cpu_dedicated_set = 1/' /etc/pinfold/pinfold.conf"
    )
    booted.run("pinfold config check")
    metrics = booted.run(watch)
    assert "pinfold_guest_info{" in metrics
    assert 'guest="web"' in metrics
    assert 'pinfold_pool_cpus{pool="dedicated"} 1.0' in metrics

    drop_in = "/etc/systemd/system/pinfold-watch.service.d/override.conf"
    booted.run(f"mkdir -p $(dirname {drop_in}) && cat > {drop_in} <<'END'\n{options}END")
    booted.run("systemctl daemon-reload && systemctl restart pinfold-watch")
    assert "--repair nova" in booted.run("tr '\\0' ' ' < /proc/$(systemctl show -P MainPID pinfold-watch)/cmdline")
    booted.run("systemctl reload pinfold-watch")

    pid = booted.run("systemctl show -P MainPID pinfold-watch")
    booted.run("apt-get install -y -o Dpkg::Options::=--force-confdef /srv/later/*.deb")
    assert booted.run("systemctl is-active pinfold-watch") == "active\n"
    assert booted.run("systemctl show -P MainPID pinfold-watch") != pid
    assert booted.ask("systemctl is-active pinfold-agent")[1] == "inactive\n"
    assert "guest web runs" in booted.run("pinfold history --guest web")

    booted.run("apt-get remove -y pinfold")
    assert booted.ask("systemctl is-active pinfold-watch")[1] == "inactive\n"
    assert "web" in booted.run("virsh list --name")
    booted.run("apt-get purge -y pinfold")
    assert not booted.run("find /etc/systemd/system -lname '*pinfold*'")
    assert "Traceback" not in booted.run("journalctl -u pinfold-watch --no-pager")


def test_a_new_user_sees_an_emulator_starve_changes_a_pool_and_watches_the_threads_move(
    booted: Machine, packages: tuple[Path, Path]
) -> None:
    """The page, typed as it stands but for the pCPUs of a smaller machine: from the package to the moved threads."""
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("the example is about pCPUs 0 and 1")
    page = starving_page.page(pcpus=os.cpu_count() or 1, kvm=False)  # libvirt gives QEMU no /dev/kvm in a root
    booted.run(f"mkdir /srv/later && mv /srv/{packages[0].name} /srv/later")
    booted.run(f"cat > /srv/web.xml <<'END'\n{page.definition}END")
    install = page.part("Install the package").replace("apt-get", "apt-get -y")
    script = f"{install}\n{page.part('Have a guest')}\n{page.script(after='Have a guest')}"
    booted.run(f"cat > /srv/page.sh <<'END OF THE PAGE'\n{script}\nEND OF THE PAGE")
    status, _ = booted.ask("cd /srv && bash -e page.sh > printed 2>&1 < /dev/null")
    printed = booted.run("cat /srv/printed")
    assert status == 0 and "Traceback" not in printed, printed
    starving_page.check(printed)
    assert "Traceback" not in booted.run("journalctl -u pinfold-watch --no-pager")


def test_systemd_finds_nothing_wrong_with_the_installed_units(booted: Machine, packages: tuple[Path, Path]) -> None:
    booted.run(f"apt-get install -y /srv/{packages[1].name}")
    assert booted.run("systemd-analyze verify pinfold-watch.service pinfold-agent.service 2>&1 | grep pinfold || true") == ""
