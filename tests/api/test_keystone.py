"""What of Keystone's tokens is decided without Keystone: its absence, malformed tokens, and settings that cannot be used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.ports import free_port

from pinfold.api.errors import ApiError
from pinfold.api.keystone import KeystoneTokens, caller_from
from pinfold.config.fleet import ApiAuth, load_fleet
from pinfold.config.keystone import keystone_conf
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.wiring.service import open_service

CREDENTIALS = "username = pinfold\npassword = secret\nproject_name = service\nuser_domain_name = Default\nproject_domain_name = Default\n"


def tokens(folder: Path, section: str) -> KeystoneTokens:
    file = folder / "pinfold.conf"
    file.write_text(section)
    return KeystoneTokens(keystone_conf([str(file)]))


def test_without_keystone_a_token_is_unavailable_with_one_sentence(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/v3"
    made = tokens(tmp_path, f"[keystone_authtoken]\nauth_url = {url}\nhttp_request_max_retries = 0\n{CREDENTIALS}")
    assert made.challenge == f'Keystone uri="{url}"'
    with pytest.raises(Unavailable, match=f"^Keystone at {url} cannot check tokens now; try again in a few seconds$"):
        asyncio.run(made.caller("gAAAAABn", "GET", "/compute/v2.1/servers"))
    made.close()


@pytest.mark.parametrize("token", ["", " ", "a b", "a\nb", "ä", "a" * 8193, "a;b"])
def test_a_malformed_token_is_refused_without_asking_keystone(tmp_path: Path, token: str) -> None:
    made = tokens(tmp_path, f"[keystone_authtoken]\nauth_type = password\nauth_url = http://127.0.0.1:{free_port()}\n{CREDENTIALS}")
    assert asyncio.run(made.caller(token, "GET", "/")) is None
    made.close()


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("", r"\[keystone_authtoken\] auth_url is missing"),
        ("[keystone_authtoken]\nauth_type = dance\n", r"\[keystone_authtoken\] cannot be used: .*dance"),
        ("[keystone_authtoken]\nauth_url = http://x\nhttp_connect_timeout = soon\n", r"\[keystone_authtoken\] cannot be used: .*soon"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_by_name(tmp_path: Path, section: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        tokens(tmp_path, section)


def test_auth_section_and_the_public_address_are_read_as_other_services_do(tmp_path: Path) -> None:
    section = (
        "[keystone_authtoken]\nauth_section = elsewhere\nwww_authenticate_uri = http://public/v3\n[elsewhere]\nauth_type = v3password\n"
    )
    made = tokens(tmp_path, f"{section}auth_url = http://127.0.0.1:1\n{CREDENTIALS}")
    assert made.keystone == "http://public/v3"
    made.close()


def test_a_token_without_a_project_or_a_role_is_403_and_says_what_is_missing() -> None:
    with pytest.raises(ApiError, match="The token is for no project"):
        caller_from({"user_id": "1", "user_name": "eve", "project_id": "", "roles": "admin"})
    with pytest.raises(ApiError, match="The user eve has none of the roles admin, member, reader in the project red"):
        caller_from({"user_id": "1", "user_name": "eve", "project_id": "p", "project_name": "red", "roles": "service"})


def test_the_strongest_role_counts() -> None:
    caller = caller_from({"user_id": "1", "user_name": "eve", "project_id": "p", "roles": "reader,Member"})
    assert (caller.role.value, caller.everywhere) == ("member", False)
    caller = caller_from({"user_id": "1", "user_name": "eve", "project_id": "p", "roles": "reader,admin,member"})
    assert (caller.role.value, caller.everywhere, caller.user) == ("admin", True, "1")


def test_with_keystone_there_are_accounts_only_if_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pinfold.conf"
    file.write_text(f"[pinfold]\nstate_dir = {tmp_path}\n[pinfold_api]\nauth = keystone\n")
    settings = load_fleet([str(file)]).api
    assert (settings.auth, settings.accounts_file) == (ApiAuth.KEYSTONE, "")
    file.write_text(f"[pinfold]\nstate_dir = {tmp_path}\n[pinfold_api]\nauth = keystone\naccounts_file = people\n")
    assert load_fleet([str(file)]).api.accounts_file == str(tmp_path / "people")
    file.write_text(f"[pinfold]\nstate_dir = {tmp_path}\n")
    assert load_fleet([str(file)]).api.accounts_file == str(tmp_path / "accounts")


def test_a_service_with_keystone_needs_its_address(tmp_path: Path) -> None:
    file = tmp_path / "pinfold.conf"
    file.write_text(f"[pinfold]\nstate_dir = {tmp_path}\n[pinfold_api]\nauth = keystone\n")
    with pytest.raises(InvalidRequest, match="auth_url is missing"), open_service(load_fleet([str(file)])):
        pass
