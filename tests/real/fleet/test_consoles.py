"""Typing into servers' consoles: the real `openstack` client makes the link, a WebSocket client types, a real guest echoes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.real.fleet.conftest import UpRig, running_up
from tests.real.fleet.test_first_server import PAGES, commands_of
from tests.real.patience import until
from tests.rig.client import COMPUTE
from tests.rig.openstack import of_cloud
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from pinfold.api.image.catalog import image_id
from pinfold.lab.daemon import LabHost

pytestmark = pytest.mark.real_clients


@pytest.fixture(scope="module")
def up_once(fleet_lab: LabHost, lab_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpRig]:
    """`pinfold up` with consoles, and the image `echo`."""
    folder = tmp_path_factory.mktemp("consoles")
    images = folder / "state/images"
    images.mkdir(parents=True)
    for each in (images.parent, images):
        each.chmod(0o711)
    write_echo(images / "echo.rom")
    with running_up(fleet_lab, folder, f"{lab_name}-c", serial_console="enabled = true") as made:
        yield made


def write_echo(path: Path) -> None:
    """Write the image whose guests print what is typed."""
    source, built = Path(__file__).with_name("echo.S"), path.with_suffix(".o")
    subprocess.run(["gcc", "-c", str(source), "-o", str(built)], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(built), str(path)], check=True)
    built.unlink()
    path.chmod(0o644)


def opened(url: str) -> ClientConnection:
    """A console as a client of Nova's opens it, to be used in a `with` statement."""
    return connect(url, subprotocols=[Subprotocol("binary")], open_timeout=60, proxy=None)


def typed(console: ClientConnection, text: bytes) -> bytes:
    """What comes back when that is typed."""
    console.send(text)
    heard = b""
    while len(heard) < len(text):
        message = console.recv(timeout=60)
        assert isinstance(message, bytes)
        heard += message
    return heard


def refusal(url: str) -> tuple[int, str]:
    """Why a console is not opened: status and text."""
    with pytest.raises(InvalidStatus) as caught, opened(url):
        pass
    return caught.value.response.status_code, bytes(caught.value.response.body or b"").decode()


def test_a_user_types_into_a_server(up: UpRig, tmp_path: Path) -> None:
    openstack = of_cloud(up.clouds, tmp_path)

    server = up.api.create("vm1", up.api.flavor("c", vcpus=1), imageRef=image_id("echo"))
    up.api.await_status(server, "ACTIVE")
    line, *_ = commands_of("how-to/consoles.md", "openstack console url show")
    shown = openstack(f"{line} -f json")
    assert (shown["protocol"], shown["type"]) == ("serial", "serial")
    parts = urlsplit(shown["url"])
    assert (parts.scheme, parts.netloc, parts.path) == ("ws", urlsplit(up.process.told["url"]).netloc, "/serial/")

    with opened(shown["url"]) as console:
        assert console.subprotocol == "binary"
        assert typed(console, b"hello\r\n") == b"hello\r\n"
        status, why = refusal(shown["url"])
        assert status == 409 and "somebody has the server's console open" in why, "one at a time can type"
        with page_script(tmp_path, shown["url"], subprocess.DEVNULL) as process:
            told = process.communicate(timeout=120)[1].decode()
        assert "somebody has the server's console open" in told and "Traceback" not in told, "the page's script prints the reason"
        assert typed(console, b"\x03 still here") == b"\x03 still here"
    with until(lambda: again(shown["url"]), "the link is good for ten minutes, so it opens again") as console:
        assert typed(console, b"x" * 5000) == b"x" * 5000
    until(lambda: by_the_page(tmp_path, shown["url"]), "the script of the page types and shows")
    assert b"hello" in (up.state / "serial" / f"{server}.log").read_bytes(), "the log goes on"

    with until(lambda: again(shown["url"]), "it opens again") as console:
        up.api.ask("DELETE", f"{COMPUTE}/servers/{server}", status=204)
        assert ended(console) == "the server has stopped"
    until(lambda: refusal(shown["url"])[0] == 403, "the token goes with its server")
    assert parts.query.removeprefix("token=") not in up.process.errors(), "no log names the token"


def ended(console: ClientConnection) -> str:
    """Why the console ends, once it does."""
    try:
        while True:
            console.recv(timeout=120)
    except ConnectionClosed as closed:
        return "" if closed.rcvd is None else closed.rcvd.reason


def page_script(folder: Path, url: str, terminal: int) -> subprocess.Popen[bytes]:
    """The script in the how-to, which runs on that terminal."""
    page = (PAGES / "how-to/consoles.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (folder / "console.py").write_text(script)
    command = [sys.executable, str(folder / "console.py"), url]
    return subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def by_the_page(folder: Path, url: str) -> bool:
    """Whether keys are typed and shown by the script in the how-to, and Ctrl-] leaves it; False while an earlier connection ends."""
    keyboard, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    try:
        with page_script(folder, url, terminal) as process:
            assert process.stdout is not None and process.stderr is not None
            until(lambda: termios.tcgetattr(terminal) != before or process.poll() is not None, "its terminal is raw, or it is refused")
            if process.poll() is not None:
                assert b"somebody has the server's console open" in process.stderr.read()
                return False
            keys = b"who\x03am i"
            os.write(keyboard, keys)
            assert process.stdout.read(len(keys)) == keys, "Ctrl-C is for the guest"
            os.write(keyboard, b"\x1d")
            assert process.communicate(timeout=120) == (b"the console is closed\n", b"")
        return termios.tcgetattr(terminal) == before
    finally:
        os.close(keyboard)
        os.close(terminal)


def again(url: str) -> ClientConnection | None:
    """The console, None while the agent still ends an earlier connection."""
    try:
        return opened(url)
    except InvalidStatus:
        return None
