"""Typing into consoles where two API processes share a database: one makes the token, the user is connected to the other."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.postgres import binaries
from tests.real.fleet.conftest import make_fleet
from tests.real.fleet.test_consoles import again, ended, refusal, typed, write_echo
from tests.real.patience import until
from tests.rig.client import COMPUTE
from tests.rig.fleet import ACCOUNT, Fleet
from tests.rig.openstack import succeeded
from tests.rig.processes import Process
from tests.survive.proxy import Fault
from websockets.sync.client import ClientConnection

from pinfold.api.image.catalog import image_id
from pinfold.config.clouds import clouds_yaml
from pinfold.store import console_tokens
from pinfold.store.database import Database
from pinfold.store.schema import console_token

pytestmark = pytest.mark.real_clients


@pytest.fixture(scope="module")
def fleet(lab_name: str, lab_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two API processes with consoles on one PostgreSQL database, one host, and the image `echo`."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    image = tmp_path_factory.mktemp("image") / "echo.rom"
    write_echo(image)
    with make_fleet(tmp_path_factory.mktemp("consoles"), lab_name, image, hosts=1, apart=False, consoles=True) as made:
        made.api.flavor("c", vcpus=1)
        yield made


@pytest.fixture(scope="module")
def server(fleet: Fleet) -> str:
    """A server that runs, `vm1`."""
    return _running(fleet, "vm1")


def _running(fleet: Fleet, name: str) -> str:
    made = fleet.api.create(name, "c", imageRef=image_id("echo"))
    fleet.api.await_status(made, "ACTIVE")
    return made


def test_a_user_types_at_either_process_whichever_made_the_token_and_whichever_the_agent_talks_to(
    fleet: Fleet, server: str, tmp_path: Path
) -> None:
    first, second = fleet.apis
    links = {first.name: _shown_by_the_client(first, tmp_path), second.name: _link(fleet, second, server)}
    assert {name: urlsplit(link).netloc for name, link in links.items()} == {api.name: _netloc(api) for api in fleet.apis}
    for heard in (second, first):
        _let_the_agent_talk_to(fleet, heard, server)
        for maker, user in ((first, second), (second, first)):
            case = f"a token of {maker.name} at {user.name}, the agent at {heard.name}\r".encode()
            with _opened(_at(user, links[maker.name])) as console:
                assert typed(console, case) == case
                for process in fleet.apis:
                    status, why = refusal(_at(process, links[maker.name]))
                    assert status == 409 and "somebody has the server's console open" in why, "one at a time can type"
                assert typed(console, b"\x00\xff still here\r") == b"\x00\xff still here\r"
    told = "".join(process.errors() for process in (*fleet.apis, fleet.hosts[0].agent))
    assert not [link for link in links.values() if _token(link) in told], "no log names a token"


def test_a_token_opens_its_own_server_at_both_processes_until_that_is_deleted(fleet: Fleet, server: str) -> None:
    first, second = fleet.apis
    other = _running(fleet, "vm2")
    links = [_link(fleet, first, server), _link(fleet, second, other)]
    with _opened(_at(second, links[0])) as console, _opened(_at(first, links[1])) as beside:
        assert (typed(console, b"for vm1"), typed(beside, b"for vm2")) == (b"for vm1", b"for vm2")
        fleet.api.delete(other)
        assert ended(beside) == "the server has stopped"
        assert typed(console, b"still vm1") == b"still vm1"
    for process in fleet.apis:
        assert _is_unknown(_at(process, links[1]))


def test_a_token_that_is_foreign_or_has_expired_is_refused_by_both_processes(fleet: Fleet, server: str) -> None:
    first, second = fleet.apis
    links = [_link(fleet, process, server) for process in (first, second)]
    foreign = links[0].replace(_token(links[0]), secrets.token_urlsafe(32))
    database = Database(fleet.database)
    with database.write() as connection:
        of_both = console_token.c.digest.in_([console_tokens.digest_of(_token(link)) for link in links])
        aged = console_token.update().where(of_both).values(made=console_token.c.made - console_tokens.VALID_SECONDS)
        assert connection.execute(aged).rowcount == 2
    database.close()
    for process in fleet.apis:
        for link in (foreign, *links):
            assert _is_unknown(_at(process, link))


def test_a_console_ends_with_its_process_and_the_link_opens_it_at_the_other(fleet: Fleet, server: str) -> None:
    first, second = fleet.apis
    link = _link(fleet, second, server)
    with _opened(link) as console:
        assert typed(console, b"before") == b"before"
        second.kill()
        ended(console)
    with _opened(_at(first, link)) as console:
        assert typed(console, b"after") == b"after"


def _shown_by_the_client(process: Process, folder: Path) -> str:
    """The link to the console of `vm1` that the `openstack` client shows when it asks that process."""
    clouds = folder / "clouds.yaml"
    clouds.touch(mode=0o600)
    clouds.write_text(clouds_yaml("pinfold", process.told["url"], *ACCOUNT))
    environment = {"OS_CLOUD": "pinfold", "OS_CLIENT_CONFIG_FILE": str(clouds), "HOME": str(folder), "OS_PASSWORD": ACCOUNT[1]}
    line = "console url show --serial vm1 -f json"
    return str(succeeded(line, environment)["url"])


def _link(fleet: Fleet, process: Process, server: str) -> str:
    """A link to a server's console, made by that process."""
    body = {"remote_console": {"protocol": "serial", "type": "serial"}}
    answer = fleet.service(process).ask("POST", f"{COMPUTE}/servers/{server}/remote-consoles", body, status=200)
    return str(answer["remote_console"]["url"])


def _token(link: str) -> str:
    return urlsplit(link).query.removeprefix("token=")


def _netloc(process: Process) -> str:
    return urlsplit(process.told["url"]).netloc


def _at(process: Process, link: str) -> str:
    """A link as a load balancer hands it to that process."""
    return urlsplit(link)._replace(netloc=_netloc(process)).geturl()


def _opened(url: str) -> ClientConnection:
    """The console, once the agent has ended an earlier connection."""
    opened: ClientConnection = until(lambda: again(url), "the console opens")
    return opened


def _is_unknown(url: str) -> bool:
    status, why = refusal(url)
    return status == 403 and "This token is unknown or has expired" in why


def _let_the_agent_talk_to(fleet: Fleet, process: Process, server: str) -> None:
    """From now on the host's agent hears its orders from that process, and tells it what it has to tell."""
    proxy = fleet.hosts[0].proxy
    proxy.upstream = process.told["url"]
    asks = proxy.add(Fault(kind="pass", matches=lambda _, path: path.startswith("/agent/v1/orders")))
    # The agent asks for its orders anew once there are some, and a question about a console log is one.
    fleet.api.ask("POST", f"{COMPUTE}/servers/{server}/action", {"os-getConsoleOutput": {}}, status=200)
    until(lambda: asks.hits, f"the agent asks {process.name} for its orders")
    proxy.remove(asks)
