"""Which account a name and a password open, how long that is remembered, and that timing does not reveal names."""

from __future__ import annotations

import bcrypt
import pytest

from pinfold.api.accounts import Account, Role, hash_password, parse_accounts
from pinfold.api.doorkeeper import Doorkeeper

SECRET = "correct horse"


def accounts(*lines: str) -> tuple[Account, ...]:
    return parse_accounts("\n".join(lines), "accounts")


ALICE = f"alice:admin:{hash_password(SECRET, rounds=4)}"
CAROL = f"carol:reader:{hash_password(SECRET, rounds=7)}"


def test_the_right_password_opens_and_a_wrong_one_does_not() -> None:
    door = Doorkeeper(accounts(ALICE))
    account = door.admit("alice", SECRET)
    assert account is not None
    assert account.role is Role.ADMIN
    assert door.admit("alice", SECRET) is account
    for name, password in (("alice", SECRET + "x"), ("alice", ""), ("bob", SECRET), ("alice", "x" * 5000), ("alice", "a\0b"), ("", "")):
        assert door.admit(name, password) is None
        assert door.remembered(name, password) is None


def test_a_password_is_not_cut_to_what_bcrypt_reads() -> None:
    door = Doorkeeper(accounts(f"alice:admin:{hash_password('x' * 72, rounds=4)}"))
    assert door.admit("alice", "x" * 72)
    assert door.admit("alice", "x" * 73) is None


@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param("alice", "wrong", id="the cheap account, wrong"),
        pytest.param("alice", SECRET, id="the cheap account, right"),
        pytest.param("alice", "x" * 73, id="the cheap account, too long"),
        pytest.param("carol", "wrong", id="the dear account, wrong"),
        pytest.param("carol", "x" * 73, id="the dear account, too long"),
        pytest.param("nobody", "wrong", id="nobody"),
        pytest.param("nobody", "x" * 3000, id="nobody, too long"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_every_check_costs_what_the_dearest_account_costs(monkeypatch: pytest.MonkeyPatch, name: str, password: str) -> None:
    door = Doorkeeper(accounts(ALICE, CAROL))
    spent: list[int] = []

    def counted(real):  # type: ignore[no-untyped-def]
        def call(data: bytes, salted: bytes):  # type: ignore[no-untyped-def]
            spent.append(2 ** int(salted.split(b"$")[2]))
            return real(data, salted)

        return call

    for function in ("checkpw", "hashpw"):
        monkeypatch.setattr(bcrypt, function, counted(getattr(bcrypt, function)))
    door.admit(name, password)
    assert sum(spent) == 2**7


def test_a_password_is_remembered_until_an_hour_after_its_last_use() -> None:
    now = [0.0]
    door = Doorkeeper(accounts(ALICE), clock=lambda: now[0])
    assert door.remembered("alice", SECRET) is None
    door.admit("alice", SECRET)
    for _ in range(5):
        now[0] += 3000
        assert door.remembered("alice", SECRET)
    now[0] += 3700
    assert door.remembered("alice", SECRET) is None


@pytest.mark.parametrize(
    "after",
    [
        pytest.param((CAROL,), id="removed"),
        pytest.param((f"alice:admin:{hash_password('another', rounds=4)}", CAROL), id="another password"),
        pytest.param((f"alice:admin:{hash_password(SECRET, rounds=4)}", CAROL), id="the same password, hashed anew"),
    ],
)
def test_an_account_that_is_removed_or_changed_is_forgotten_at_once(after: tuple[str, ...]) -> None:
    door = Doorkeeper(accounts(ALICE, CAROL))
    alice, carol = door.admit("alice", SECRET), door.admit("carol", SECRET)
    assert alice is not None
    assert carol is not None
    door.replace(accounts(*after))
    assert door.remembered("alice", SECRET) is None
    assert not door.holds(alice)
    assert door.remembered("carol", SECRET) == carol, "whose account stayed is not asked again"
    assert door.holds(carol)


def test_a_role_that_changes_counts_at_once() -> None:
    door = Doorkeeper(accounts(ALICE))
    admin = door.admit("alice", SECRET)
    assert admin is not None
    door.replace(accounts(ALICE.replace(":admin:", ":reader:")))
    assert not door.holds(admin)
    reader = door.remembered("alice", SECRET)
    assert reader is not None
    assert reader.role is Role.READER
