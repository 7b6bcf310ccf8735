"""Key pairs over HTTP: imported, made, listed in pages, shown, deleted; each account has its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.rig.client import COMPUTE, compute
from tests.rig.in_process import ADMIN, READER, Fleet

from pinfold.service.key_pairs import MOST_KEY_PAIRS
from pinfold.store import key_pairs

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfkNV4OS33ImTXvorZr72q4v5XhVEQKfvqsxOEJ/XaR me@example"
FINGERPRINT = "8c:52:69:dd:7e:fa:f1:9f:c2:bc:bc:16:cb:8a:90:26"


def body(name: str = "mine", **more: Any) -> dict[str, Any]:
    return {"keypair": {"name": name, "public_key": KEY, **more}}


def test_a_public_key_is_imported_shown_listed_and_deleted(fleet: Fleet) -> None:
    made = fleet.ask("POST", "/os-keypairs", body(type="ssh"), status=201).json()["keypair"]
    assert made == {"name": "mine", "public_key": KEY, "fingerprint": FINGERPRINT, "type": "ssh", "user_id": ADMIN[0]}
    shown = fleet.ask("GET", "/os-keypairs/mine", status=200).json()["keypair"]
    assert made.items() <= shown.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+", shown["created_at"])
    listed = fleet.ask("GET", "/os-keypairs", status=200).json()["keypairs"]
    assert [row["keypair"]["name"] for row in listed] == ["mine"]
    twice = fleet.ask("POST", "/os-keypairs", body(), status=409).json()
    assert twice["conflictingRequest"]["message"] == "Key pair 'mine' already exists."
    fleet.ask("DELETE", "/os-keypairs/mine", status=204)
    gone = fleet.ask("GET", "/os-keypairs/mine", status=404).json()
    assert gone["itemNotFound"]["message"] == "Keypair mine not found for user alice"
    fleet.ask("DELETE", "/os-keypairs/mine", status=404)


def test_before_2_92_the_service_makes_a_pair_and_forgets_the_private_key(fleet: Fleet) -> None:
    made = fleet.ask("POST", "/os-keypairs", {"keypair": {"name": "made"}}, version="2.91", status=201).json()["keypair"]
    key = load_pem_private_key(made["private_key"].encode(), None)
    assert made["public_key"].startswith("ssh-rsa ") and key is not None
    assert "private_key" not in fleet.ask("GET", "/os-keypairs/made", version="2.91", status=200).json()["keypair"]
    with fleet.database.read() as connection:
        assert "PRIVATE" not in str(key_pairs.of_account(connection, ADMIN[0]))
    refused = fleet.ask("POST", "/os-keypairs", {"keypair": {"name": "import-only"}}, status=400).json()
    assert "'public_key' is a required property" in refused["badRequest"]["message"]


def test_the_first_microversion_has_no_types_and_answers_as_then(fleet: Fleet) -> None:
    made = fleet.ask("POST", "/os-keypairs", body(), version="2.1", status=200).json()["keypair"]
    assert set(made) == {"name", "public_key", "fingerprint", "user_id"}
    fleet.ask("POST", "/os-keypairs", body("other", type="ssh"), version="2.1", status=400)
    fleet.ask("DELETE", "/os-keypairs/mine", version="2.1", status=202)


def test_each_account_has_its_own_and_an_admin_may_name_another(fleet: Fleet) -> None:
    fleet.ask("POST", "/os-keypairs", body("a"), status=201)
    fleet.ask("POST", "/os-keypairs", body("b", user_id=READER[0]), status=201)
    asked = fleet.ask("GET", f"/os-keypairs?user_id={READER[0]}", status=200).json()["keypairs"]
    assert [row["keypair"]["name"] for row in asked] == ["b"]
    path, headers = f"{COMPUTE}/os-keypairs", compute()
    own = fleet.http.get(path, headers=headers, auth=READER).json()["keypairs"]
    assert [row["keypair"]["name"] for row in own] == ["b"]
    assert fleet.http.get(f"{path}/a", headers=headers, auth=READER).status_code == 404
    other = fleet.http.get(f"{path}?user_id={ADMIN[0]}", headers=headers, auth=READER)
    assert (other.status_code, other.json()["forbidden"]["message"]) == (403, "The account bob may see its own key pairs only.")
    fleet.ask("GET", f"/os-keypairs?user_id={READER[0]}", version="2.9", status=400)


def test_listings_have_pages(fleet: Fleet) -> None:
    for name in ("a", "b c", "d"):
        fleet.ask("POST", "/os-keypairs", body(name), status=201)
    first = fleet.ask("GET", "/os-keypairs?limit=2", status=200).json()
    assert [row["keypair"]["name"] for row in first["keypairs"]] == ["a", "b c"]
    second = fleet.call("GET", first["keypairs_links"][0]["href"], status=200).json()
    assert [row["keypair"]["name"] for row in second["keypairs"]] == ["d"]
    fleet.ask("GET", "/os-keypairs?marker=none", status=400)


def test_an_account_has_a_hundred_key_pairs_at_most(fleet: Fleet) -> None:
    with fleet.database.write() as connection:
        for index in range(MOST_KEY_PAIRS):
            key_pairs.create(connection, account=ADMIN[0], name=f"k{index}", public_key=KEY, fingerprint=FINGERPRINT)
    refused = fleet.ask("POST", "/os-keypairs", body("one more"), status=403).json()
    assert refused["forbidden"]["message"] == "Quota exceeded, too many key pairs."


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"public_key": "ssh-ed25519 AAAA me"}, 400, "public_key must be one line"),
        ({"public_key": KEY + "\nssh-rsa B"}, 400, "public_key must be one line"),
        ({"public_key": "-----BEGIN RSA PRIVATE KEY-----"}, 400, "public_key must be one line"),
        ({"public_key": "x" * 20_000}, 400, "at most 16384 characters"),
        ({"name": "../x"}, 400, "a key pair's name has letters"),
        ({"name": " x"}, 400, "a key pair's name has letters"),
        ({"type": "x509"}, 501, "'x509' is not supported, only 'ssh'"),
        ({"type": "pgp"}, 400, "'ssh' or 'x509'"),
        ({"else": 1}, 400, "Extra inputs"),
    ],
    ids=["a cut key", "two lines", "a private key", "too long", "a path", "a blank", "x509", "no type", "an unknown key"],
)
def test_refusals_name_what_is_allowed(fleet: Fleet, change: dict[str, Any], status: int, words: str) -> None:
    answer = fleet.ask("POST", "/os-keypairs", body(**change), status=status)
    assert words in answer.text
    fleet.ask("POST", "/os-keypairs", body("a@b.c"), version="2.91", status=400)
