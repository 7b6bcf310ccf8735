"""Accounts files and passwords."""

from pathlib import Path

import pytest

from pinfold.api.accounts import hash_password, parse_accounts, read_accounts_text
from pinfold.core.errors import InvalidRequest

SECRET = "correct horse"


@pytest.fixture(scope="module")
def line() -> str:
    return f"alice:admin:{hash_password(SECRET, rounds=4)}"


def test_a_password_that_bcrypt_would_cut_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="73 bytes"):
        hash_password("x" * 73)


@pytest.mark.parametrize(
    "bad",
    [
        "alice",
        "alice:admin",
        "alice:owner:$2b$12$" + "a" * 53,
        "al ice:admin:$2b$12$" + "a" * 53,
        "alice:admin:plain",
        "alice:admin:$2b$31$" + "a" * 53,
    ],
)
def test_a_malformed_line_is_named(bad: str) -> None:
    with pytest.raises(InvalidRequest, match="accounts, line 2: not of the form"):
        parse_accounts("# first\n" + bad, "accounts")


def test_an_account_stands_once(line: str) -> None:
    with pytest.raises(InvalidRequest, match="'alice' stands there twice"):
        parse_accounts(f"{line}\n{line}", "accounts")


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        (0o644, "everybody can read it"),
        (0o660, "its group can change it"),
        (0o666, "everybody can change it"),
        (0o602, "everybody can change"),
    ],
    ids=["0644", "0660", "0666", "0602"],
)
def test_a_file_that_is_too_open_is_refused(tmp_path: Path, line: str, mode: int, why: str) -> None:
    path = tmp_path / "accounts"
    path.write_text(line)
    path.chmod(mode)
    with pytest.raises(InvalidRequest, match=rf"accounts: {why}.*\(mode {mode:04o}\); its mode must be 0600 or 0640"):
        read_accounts_text(path)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_file_that_is_private_is_read(tmp_path: Path, line: str, mode: int) -> None:
    path = tmp_path / "accounts"
    path.write_text(line)
    path.chmod(mode)
    assert [account.name for account in parse_accounts(read_accounts_text(path), str(path))] == ["alice"]


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read as an accounts file"):
        read_accounts_text(tmp_path / "none")
