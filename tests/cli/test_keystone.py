"""`pinfold keystone register` where no Keystone answers. With the real one it is in `tests/real/identity`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Pinfold
from tests.ports import free_port

from pinfold.cli.keystone import carry_out
from pinfold.config.keystone import authtoken_section, keystone_conf
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.registration import GrantRole, MakeProject, MakeUser, Step, Wanted

WORDS = ("keystone", "register", "--url", "http://pinfold:8774")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor files of the developer's."""
    import os

    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_without_credentials_it_says_how_to_give_them(pinfold: Pinfold) -> None:
    answer = pinfold(*WORDS)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == (
        "pinfold: there are no credentials for Keystone: set OS_AUTH_URL and the other OS_* variables as for the openstack client, "
        "or name an entry of clouds.yaml with --cloud\n"
    )


def test_a_cloud_that_clouds_yaml_lacks_is_named(pinfold: Pinfold) -> None:
    answer = pinfold(*WORDS, "--cloud", "nope")
    assert (answer.status, answer.err) == (2, "pinfold: the credentials of the cloud cannot be used: Cloud nope was not found.\n")


def test_a_clouds_yaml_that_is_damaged_is_one_sentence(pinfold: Pinfold, tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: [")
    answer = pinfold(*WORDS, "--cloud", "nope")
    assert answer.status == 2, answer.err
    assert answer.err.count("\n") == 1


def test_keystone_away_is_one_sentence_and_no_file_is_left(pinfold: Pinfold, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/v3"
    for name, value in (("AUTH_URL", url), ("USERNAME", "admin"), ("PASSWORD", "x"), ("PROJECT_NAME", "admin")):
        monkeypatch.setenv(f"OS_{name}", value)
    for more in ((), ("--region", "west"), ("--apply", "--output", str(tmp_path / "new.conf"))):
        answer = pinfold(*WORDS, *more)
        assert (answer.status, answer.out) == (3, "")
        assert answer.err == f"pinfold: Keystone at {url} does not answer: Unable to establish connection to {url}/auth/tokens\n"
    assert not (tmp_path / "new.conf").exists()


@pytest.mark.parametrize("url", ["pinfold:8774", "https://", "https://me:secret@pinfold", "http://pinfold:8774?a=b", "http://pinfold:port"])
def test_what_is_no_base_address_is_refused(pinfold: Pinfold, url: str) -> None:
    answer = pinfold("keystone", "register", "--url", url)
    assert answer.status == 2
    assert answer.err == f"pinfold: --url {url!r} is not allowed; an address such as https://pinfold.example:8774 is\n"


class Away:
    """A Keystone that does not answer any more at one kind of step."""

    def __init__(self, at: type[Step]) -> None:
        self.at = at

    def carry_out(self, step: Step, *, password: str) -> None:
        if isinstance(step, self.at):
            raise Unavailable("Keystone does not answer")


STEPS = (MakeProject("service", "Default"), MakeUser("pinfold", "Default"), GrantRole("service", "pinfold", "service", "Default"))


def test_the_password_of_a_user_that_was_made_outlives_a_later_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new.conf"
    file.write_text("password = x")
    with pytest.raises(Unavailable, match=f"the user pinfold was made before, and its password is in {file}"):
        carry_out(Away(GrantRole), STEPS, "x", "password = x", str(file))
    assert file.read_text() == "password = x"
    with pytest.raises(Unavailable, match="its password is in the section that was printed"):
        carry_out(Away(GrantRole), STEPS, "x", "password = x\n", None)
    assert capsys.readouterr().out == "password = x\n"


def test_a_failure_before_a_user_was_made_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "new.conf"
    file.write_text("password = x")
    with pytest.raises(Unavailable, match=r"^Keystone does not answer$"):
        carry_out(Away(MakeProject), STEPS, "x", "password = x", str(file))
    assert not file.exists()


@pytest.mark.parametrize("name", ["a\n[pinfold_api]\nauth = http_basic", "a\r", " a", "a\x1b"])
def test_a_name_that_would_be_another_line_of_the_file_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"cannot stand in pinfold\.conf"):
        authtoken_section(Wanted(url="", types=(), region="west", keystone="http://keystone/v3", user=name), "secret")


def test_the_section_is_read_back_as_it_was_meant(tmp_path: Path) -> None:
    wanted = Wanted(url="", types=(), region="west", keystone="http://keystone/v3", user="pin$fold")
    (tmp_path / "pinfold.conf").write_text(authtoken_section(wanted, "secret"))
    from oslo_config import cfg

    conf = keystone_conf([str(tmp_path / "pinfold.conf")])
    conf.register_opts([cfg.StrOpt(name) for name in ("auth_url", "username", "password", "region_name")], group="keystone_authtoken")
    found = conf.keystone_authtoken
    assert (found.auth_url, found.username, found.password, found.region_name) == ("http://keystone/v3", "pin$fold", "secret", "west")
