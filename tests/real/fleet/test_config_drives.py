"""A server's key pair, user data and password, as a user gives them to the real `openstack` client, on the drive of the real guest."""

from __future__ import annotations

import base64
import io
import json
import stat
from pathlib import Path
from xml.etree import ElementTree

import pycdlib
import pytest
from tests.real.fleet.conftest import UpRig
from tests.real.patience import until
from tests.rig.client import COMPUTE, server_body
from tests.rig.openstack import of_cloud
from tests.rig.processes import defined, virsh
from tests.stories.test_key_pairs import KEY

pytestmark = pytest.mark.real_clients

SECRET = b"#cloud-config\nsecret-of-the-user-data: 7f3d\n"
PASSWORD = "secret-of-the-password-7f3d"


def test_what_a_user_gives_is_on_the_guests_drive_and_nowhere_else(up: UpRig, tmp_path: Path) -> None:
    openstack = of_cloud(up.clouds, tmp_path)
    (tmp_path / "key.pub").write_text(KEY, encoding="ascii")
    (tmp_path / "user-data").write_bytes(SECRET)

    openstack(f"keypair create --public-key {tmp_path}/key.pub mine")
    openstack("flavor create --vcpus 1 --ram 64 --disk 0 config")
    create = "server create --flavor config --image probe --no-network --wait"
    made = openstack(f"{create} --key-name mine --user-data {tmp_path}/user-data --property role=db vm1 -f json")
    assert (made["status"], made["key_name"], made["config_drive"]) == ("ACTIVE", "mine", "True")

    drive = drive_of(up, made["id"])
    assert stat.S_IMODE(drive.stat().st_mode) == 0o600
    assert read(drive, "openstack/latest/user_data") == SECRET
    meta = json.loads(read(drive, "openstack/latest/meta_data.json"))
    assert (meta["uuid"], meta["hostname"], meta["meta"], meta["public_keys"]) == (made["id"], "vm1", {"role": "db"}, {"mine": KEY})
    until(lambda: finding(up, SECRET) == {drive}, "SQLite's log is emptied")

    openstack("server reboot --hard --wait vm1")
    assert read(drive_of(up, made["id"]), "openstack/latest/user_data") == SECRET
    openstack("server delete --wait vm1")
    assert not drive.exists() and not defined(up.lab)
    until(lambda: finding(up, SECRET) == set(), "SQLite's log is emptied")
    openstack("keypair delete mine")


def test_a_password_is_answered_once_and_survives_nowhere(up: UpRig) -> None:
    up.api.flavor("password", vcpus=1)
    body = {"server": server_body("vm2", "password", adminPass=PASSWORD)}
    made = up.api.ask("POST", f"{COMPUTE}/servers", body, status=202)["server"]
    assert made["adminPass"] == PASSWORD
    up.api.await_status(made["id"], "ACTIVE")
    meta = json.loads(read(drive_of(up, made["id"]), "openstack/latest/meta_data.json"))
    assert (meta["admin_pass"], meta["name"]) == (PASSWORD, "vm2")
    up.api.delete(made["id"])
    until(lambda: finding(up, PASSWORD.encode()) == set(), "SQLite's log is emptied")


def drive_of(up: UpRig, server: str) -> Path:
    """The file of the guest's config drive, as its domain names it."""
    domain = ElementTree.fromstring(virsh(up.lab, "dumpxml", server))
    (source,) = (disk.find("source") for disk in domain.iterfind("devices/disk") if disk.get("device") == "cdrom")
    assert source is not None
    return Path(source.get("file", ""))


def read(drive: Path, name: str) -> bytes:
    """One file of a drive."""
    image, content = pycdlib.PyCdlib(), io.BytesIO()
    image.open(str(drive))
    image.get_file_from_iso_fp(content, joliet_path=f"/{name}")
    image.close()
    return content.getvalue()


def finding(up: UpRig, secret: bytes) -> set[Path]:
    """The files of the service, its agent and the lab that hold a secret, as it is or in base64: logs, state, databases, definitions."""
    folders, forms = (up.state, up.process.folder, up.lab.folder.path), (secret.splitlines()[-1], base64.b64encode(secret)[:40])
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return {path for path in files if any(form in content(path) for form in forms)}


def content(path: Path) -> bytes:
    """What a file holds; nothing if it has gone meanwhile, as a lock or a journal does."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
