"""The API over TLS and its real clients: the agent, pinfold's own commands, `openstack`. Who trusts another authority gets nothing."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.real.fleet.conftest import QUICK, service_of
from tests.real.fleet.test_first_server import pinfold
from tests.real.patience import until
from tests.rig.fleet import ACCOUNT, sweep, write_accounts
from tests.rig.openstack import of_cloud
from tests.rig.processes import Process, Service, configuration, ending

from pinfold.lab.daemon import LabHost

ADDRESS = "127.0.0.1"
pytestmark = pytest.mark.real_clients


def signed_by_an_authority(folder: Path) -> Path:
    """`api.crt` and `api.key` in the folder, and the authority's own certificate, whose path is returned."""
    authority = trustme.CA()
    issued = authority.issue_cert(ADDRESS)
    (folder / "api.key").touch(mode=0o600)
    issued.private_key_pem.write_to_path(str(folder / "api.key"))
    for pem in issued.cert_chain_pems:
        pem.write_to_path(str(folder / "api.crt"), append=True)
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    return folder / "ca.crt"


def signed_by_itself(folder: Path) -> None:
    """`api.crt` and `api.key` in the folder."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pinfold")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "api.crt").write_bytes(certificate.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "api.key").touch(mode=0o600)
    (folder / "api.key").write_bytes(secret)


def tls(folder: Path) -> str:
    """The options that make the API speak HTTPS."""
    return f"port = 0\ntls_certificate = {folder}/api.crt\ntls_key = {folder}/api.key"


def test_an_api_and_an_agent_with_an_authoritys_certificate(fleet_lab: LabHost, lab_name: str, tmp_path: Path) -> None:
    trusted = signed_by_an_authority(tmp_path)
    write_accounts(tmp_path)
    (tmp_path / "password").write_text(ACCOUNT[1])
    name = f"{lab_name}-tls"
    config = tmp_path / "api.conf"
    config.write_text(
        f"[pinfold]\nstate_dir = {tmp_path}/api\n[pinfold_api]\n{QUICK}\n{tls(tmp_path)}\naccounts_file = {tmp_path}/accounts\n"
    )
    api = Process(("api", "--config", str(config)), tmp_path, "api")
    state = tmp_path / "agent"
    state.mkdir(mode=0o711)
    with ending(api):
        url = api.start().told["url"]
        assert url.startswith("https://")
        words = f"config clouds --url {url} --username {ACCOUNT[0]} --password-file {tmp_path}/password --ca-file {trusted}"
        text = pinfold(words.split(), {"HOME": str(tmp_path)})
        clouds = tmp_path / "clouds.yaml"
        clouds.touch(mode=0o600)
        clouds.write_text(text)
        service = Service(url, ACCOUNT, trusted=str(trusted))
        (state / "agent.token").touch(mode=0o600)
        (state / "agent.token").write_text(service.ask("POST", "/v1/hosts", {"name": name})["token"])

        def agent(more: str) -> Process:
            own = tmp_path / f"agent{len(more)}.conf"
            own.write_text(configuration(fleet_lab, state, host=name, pinfold_agent=f"api_url = {url}{more}"))
            return Process(("agent", "--config", str(own)), tmp_path, own.stem)

        stranger, trusting = agent(""), agent(f"\nca_file = {trusted}")
        with ending(stranger, trusting):
            stranger.start()
            until(lambda: "certificate verify failed" in stranger.errors().lower(), "the stranger is told why")
            assert not service.host(name)["up"]
            stranger.kill()
            trusting.start()
            service.await_host(name, up=True)
            (listed,) = of_cloud(clouds, tmp_path)("hypervisor list -f json")
            assert (listed["Hypervisor Hostname"], listed["State"]) == (name, "up")
            assert of_cloud(clouds, tmp_path)("resource provider list -f json")[0]["name"] == name
            ours = {"OS_CLIENT_CONFIG_FILE": str(clouds), "HOME": str(tmp_path)}
            assert pinfold(["server", "list", "--json"], ours) == {"servers": []}
    sweep(fleet_lab)


@pytest.mark.parametrize("kind", ["of an authority", "of its own"])
def test_up_tells_clients_whom_to_trust(fleet_lab: LabHost, lab_name: str, tmp_path: Path, kind: str) -> None:
    trusted = ""
    if kind == "of an authority":
        trusted = f"\nca_file = {signed_by_an_authority(tmp_path)}"
    else:
        signed_by_itself(tmp_path)
    state, config = tmp_path / "state", tmp_path / "pinfold.conf"
    agent = f"sweep_seconds = 1{trusted}"
    config.write_text(configuration(fleet_lab, state, host=f"{lab_name}-s", pinfold_api=f"{QUICK}\n{tls(tmp_path)}", pinfold_agent=agent))
    up = Process(("up", "--config", str(config)), tmp_path, "up")
    with ending(up):
        service_of(up.start(), state).await_host(f"{lab_name}-s", up=True)
        (listed,) = of_cloud(state / "clouds.yaml", tmp_path)("hypervisor list -f json")
        assert listed["State"] == "up"
    sweep(fleet_lab)
