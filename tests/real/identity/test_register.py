"""`pinfold keystone register` with a real Keystone: what it prints is typed to the letter, and what it makes is the same."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.real.clients import shell
from tests.rig.keystone import Keystone, running_keystone

from pinfold.api.keystone import KeystoneTokens
from pinfold.config.keystone import keystone_conf

pytestmark = [pytest.mark.slow, pytest.mark.installs, pytest.mark.real_clients, pytest.mark.timeout(900)]
URL = "http://127.0.0.1:8774"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    """A Keystone as `keystone-manage bootstrap` leaves it."""
    with running_keystone(tmp_path_factory.mktemp("bare")) as made:
        yield made


@pytest.fixture
def admin(bare: Keystone, tmp_path: Path) -> dict[str, str]:
    """The environment of its admin."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")} | {"HOME": str(tmp_path)}
    return kept | bare.variables("admin", "admin")


def register(admin: dict[str, str], *words: str, status: int = 0) -> str:
    """The command; what it printed, or its error."""
    pinfold = str(Path(sys.executable).with_name("pinfold"))
    command = [pinfold, "keystone", "register", "--url", URL, *words]
    done = subprocess.run(command, env=admin, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def type_all(admin: dict[str, str], lines: list[str], password: str) -> None:
    """Every line in a shell; the client that asks for a password gets it at a terminal."""
    asking = [line for line in lines if "--password-prompt" in line]
    before = lines[: lines.index(asking[0])] if asking else lines
    _quietly(admin, before)
    for line in asking:
        assert _at_a_terminal(admin, line, password) == 0, line
        _quietly(admin, lines[lines.index(line) + 1 :])


def _quietly(admin: dict[str, str], lines: list[str]) -> None:
    """The same words in one process, since each start of the client takes longer than its work."""
    assert all(line.startswith("openstack ") for line in lines)
    words = [line.removeprefix("openstack ") for line in lines]
    done = subprocess.run(
        [sys.executable, str(Path(shell.__file__))],
        input=json.dumps(words),
        env=admin,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    for line, (code, _, err) in zip(lines, json.loads(done.stdout), strict=True):
        assert code == 0, f"{line}: {err}"


def _at_a_terminal(admin: dict[str, str], line: str, password: str) -> int:
    child, terminal = pty.fork()
    if child == 0:
        folder = str(Path(sys.executable).parent)
        os.execvpe("sh", ["sh", "-c", line], admin | {"PATH": f"{folder}:{admin['PATH']}"})
    said = ""
    while True:
        try:
            said += os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # the terminal's other end is closed
            break
        if said.rstrip().endswith("Password:"):
            os.write(terminal, f"{password}\n".encode())
            said = ""
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def checks(section: str, folder: Path, token: str) -> Any:
    """Who a token belongs to, as a service with that section finds out."""
    import asyncio

    (folder / "pinfold.conf").write_text(section)
    tokens = KeystoneTokens(keystone_conf([str(folder / "pinfold.conf")]))
    try:
        return asyncio.run(tokens.caller(token, "GET", "/compute/v2.1/servers"))
    finally:
        tokens.close()


def test_what_it_prints_is_typed_to_the_letter_and_then_nothing_is_missing(bare: Keystone, admin: dict[str, str], tmp_path: Path) -> None:
    lines = register(admin, "--commands").splitlines()
    assert len(lines) == 15
    type_all(admin, lines, "typed by hand")
    printed = register(admin)
    assert "# everything is registered\n" in printed
    assert register(admin, "--commands") == ""
    section = printed.partition("# for pinfold.conf:\n")[2].replace(
        "# password = the password of the user pinfold; write a $ in it as $$", ""
    )
    caller = checks(f"{section}password = typed by hand\n", tmp_path, bare.token("admin", "admin"))
    assert (caller.name, caller.role.value) == ("admin", "admin")


def test_apply_makes_the_same_in_a_region_of_its_own_with_a_password_that_only_the_file_has(
    bare: Keystone, admin: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "authtoken.conf"
    words = ("--region", "west", "--user", "pinfold-west", "--apply", "--output", str(file))
    printed = register(admin, *words)
    assert "# done: openstack region create west\n" in printed
    assert "# done: openstack user create --domain Default --password-prompt pinfold-west\n" in printed
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "password =" not in printed
    assert "# everything is registered" in register(admin, "--region", "west", "--user", "pinfold-west")
    assert checks(file.read_text(), tmp_path, bare.token("admin", "admin")).name == "admin"
    assert register(admin, *words, status=2) == f"pinfold: --output {file} cannot be made: File exists\n"
    found = json.loads(register(admin, "--region", "west", "--user", "pinfold-west", "--json"))
    assert (found["commands"], found["made"], found["region"]) == ([], False, "west")


def test_the_credentials_of_clouds_yaml_do_and_refusals_are_one_sentence(bare: Keystone, admin: dict[str, str], tmp_path: Path) -> None:
    bare.user("tom", admin="member")
    clouds = {
        name: {
            "region_name": "RegionOne",
            "auth": {
                "auth_url": bare.url,
                "username": name,
                "password": password,
                "project_name": "admin",
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
        }
        for name, password in (("admin", bare.password), ("tom", "tom"), ("wrong", "wrong"))
    }
    (tmp_path / ".config/openstack").mkdir(parents=True)
    (tmp_path / ".config/openstack/clouds.yaml").write_text(json.dumps({"clouds": clouds}))
    bare_env = {key: value for key, value in admin.items() if not key.startswith("OS_")}
    assert register(bare_env, "--cloud", "admin").startswith(f"# Keystone at {bare.url}, region RegionOne\n")
    for cloud, sentence in (
        ("tom", "lets only accounts with the role admin do this; this account lacks that role"),
        ("wrong", "refuses the credentials: The request you have made requires authentication."),
    ):
        said = register(bare_env, "--cloud", cloud, status=2)
        assert said.startswith(f"pinfold: Keystone at {bare.url} {sentence}")
        assert said.count("\n") == 1
    said = register(bare_env, "--cloud", "admin", "--domain", "nowhere", status=2)
    assert said == "pinfold: --domain 'nowhere' is not allowed; Keystone has no such domain\n"
