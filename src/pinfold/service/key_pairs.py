"""What accounts do with key pairs: import a public key, have a pair made, list and delete. Private keys are never kept."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)
from msgspec import Struct

from pinfold.core.errors import InvalidRequest, LimitReached, NotFound
from pinfold.store import key_pairs
from pinfold.store.database import Database
from pinfold.store.records import KeyPairRecord

MOST_KEY_PAIRS: Final = 100
"""How many key pairs an account may have, as in Nova by default."""
MOST_KEY: Final = 16_384
"""The most characters of a public key, as in Nova."""
_BITS: Final = 3072
_EXPONENT: Final = 65537


class KeyPairWithSecret(Struct, frozen=True, kw_only=True):
    """A key pair that was just made, with its private key: this is the only time that anybody sees it."""

    record: KeyPairRecord
    private_key: str


class KeyPairs:
    """The service's key pairs. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, account: str, name: str, public_key: str) -> KeyPairRecord:
        """Store a public key.

        Raises `InvalidRequest` for a text that is none, `Conflict` for a name that the account has, `LimitReached` for too many.
        """
        line = public_key.strip()
        fingerprint = fingerprint_of(line)
        with self._database.write() as connection:
            if len(key_pairs.of_account(connection, account)) >= MOST_KEY_PAIRS:
                raise LimitReached("Quota exceeded, too many key pairs.")
            return key_pairs.create(connection, account=account, name=name, public_key=line, fingerprint=fingerprint)

    def make(self, account: str, name: str) -> KeyPairWithSecret:
        """Make an RSA key pair, as Nova did before microversion 2.92, and store its public key. Raises as `add`."""
        key = rsa.generate_private_key(_EXPONENT, _BITS)
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        return KeyPairWithSecret(record=self.add(account, name, f"{public} Generated-by-pinfold"), private_key=private)

    def get(self, account: str, name: str) -> KeyPairRecord:
        """One key pair. Raises `NotFound`."""
        with self._database.read() as connection:
            found = key_pairs.find(connection, account, name)
        if found is None:
            raise _no_key_pair(account, name)
        return found

    def all(self, account: str) -> tuple[KeyPairRecord, ...]:
        """The key pairs of an account, ordered by name."""
        with self._database.read() as connection:
            return key_pairs.of_account(connection, account)

    def remove(self, account: str, name: str) -> None:
        """Delete a key pair; servers keep their copy of the key. Raises `NotFound`."""
        with self._database.write() as connection:
            if not key_pairs.remove(connection, account, name):
                raise _no_key_pair(account, name)


def fingerprint_of(public_key: str) -> str:
    """The MD5 fingerprint of a public key in OpenSSH's form, as OpenStack shows it. Raises `InvalidRequest` for any other text.

    >>> fingerprint_of("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfkNV4OS33ImTXvorZr72q4v5XhVEQKfvqsxOEJ/XaR me@example")
    '8c:52:69:dd:7e:fa:f1:9f:c2:bc:bc:16:cb:8a:90:26'
    """
    if len(public_key) > MOST_KEY or any(not each.isprintable() for each in public_key):
        raise _no_public_key()
    try:
        load_ssh_public_key(public_key.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_public_key() from error
    return hashlib.md5(base64.b64decode(public_key.split()[1]), usedforsecurity=False).digest().hex(":")


def _no_public_key() -> InvalidRequest:
    return InvalidRequest(
        f"Keypair data is invalid: public_key must be one line of at most {MOST_KEY} characters as in an OpenSSH .pub file, "
        "such as 'ssh-ed25519 AAAA… name'",
        key="public_key",
    )


def _no_key_pair(account: str, name: str) -> NotFound:
    return NotFound(f"Keypair {name[:255]} not found for user {account[:255]}")
