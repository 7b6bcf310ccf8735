"""`Service`: the commands' client of pinfold's API, with its address and credentials.

A clouds.yaml holds both: first the one of `$OS_CLIENT_CONFIG_FILE` with `$OS_CLOUD`, then the one that `pinfold up` left in the state
directory.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pinfold.core.errors import Conflict, InvalidRequest, Unavailable

if TYPE_CHECKING:  # Import late: the help, and every command on one host, works without httpx and PyYAML.
    import httpx

_COMPUTE: Final = "/compute/v2.1"
_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The address of a service and the credentials. `username` is '' for a service without authentication; the repr hides the password.

    `source` is the clouds.yaml that holds them.
    """

    url: str
    username: str = ""
    password: str = ""
    ca_file: str = ""
    source: str = ""

    def __repr__(self) -> str:
        return f"Access(url={self.url!r}, username={self.username!r})"


def find_access(environ: Mapping[str, str], state_dir: str) -> Access:
    """The access that the environment or the state directory names. Raises `InvalidRequest` that says what to set when there is none."""
    from pinfold.config.find import is_there

    named = environ.get("OS_CLIENT_CONFIG_FILE", "")
    path = Path(named or Path(state_dir, "clouds.yaml"))
    cloud = environ.get("OS_CLOUD") or "pinfold"
    if not is_there(path, "clouds.yaml"):
        raise InvalidRequest(
            f"there is no clouds.yaml at {path}; start the service with `pinfold up`, or name a clouds.yaml in $OS_CLIENT_CONFIG_FILE",
            key=str(path),
        )
    return read_access(path, cloud)


def read_access(path: Path, cloud: str) -> Access:
    """The access to one cloud of a clouds.yaml. Raises `InvalidRequest` that names the file and what it lacks."""
    import yaml

    from pinfold.config.parse import read_text

    try:
        read = yaml.safe_load(read_text(str(path), "clouds.yaml"))
    except yaml.YAMLError as error:
        raise InvalidRequest(f"clouds.yaml {path} is not YAML: {' '.join(str(error).split())[:200]}", key=str(path)) from error
    clouds = read.get("clouds") if isinstance(read, dict) else None
    entry = clouds.get(cloud) if isinstance(clouds, dict) else None
    if not isinstance(entry, dict):
        raise InvalidRequest(f"{path} has no cloud {cloud!r}; set $OS_CLOUD to one of its clouds", key=str(path))
    auth = entry.get("auth")
    given = auth if isinstance(auth, dict) else {}
    endpoint = str(entry.get("compute_endpoint_override") or given.get("endpoint") or "")
    if not endpoint.startswith(("http://", "https://")) or not endpoint.endswith(_COMPUTE):
        raise InvalidRequest(f"{path}: cloud {cloud!r} names no pinfold; compute_endpoint_override must end in {_COMPUTE}", key=str(path))
    return Access(
        url=endpoint.removesuffix(_COMPUTE),
        username=str(given.get("username") or ""),
        password=str(given.get("password") or ""),
        ca_file=str(entry.get("cacert") or ""),
        source=str(path),
    )


Query = Sequence[tuple[str, str]]
"""Names and values, as in a URL; a name may be there more than once."""


class Service:
    """One service. Every call raises `Unavailable` when it is away, and otherwise the error that its response stands for."""

    def __init__(self, access: Access, *, seconds: float = _SECONDS) -> None:
        import httpx

        self._url = access.url
        self._access = access
        self._http = httpx.Client(
            base_url=access.url,
            auth=(access.username, access.password) if access.username else None,
            headers={"OpenStack-API-Version": "compute 2.96"},
            verify=access.ca_file or True,
            timeout=seconds,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def compute(self, method: str, path: str, body: object = None) -> Any:
        """Call the Compute API; `path` begins after its version."""
        return self.ask(method, _COMPUTE + path, body)

    def ask(self, method: str, path: str, body: object = None, query: Query = ()) -> Any:
        """Call a path. Returns the JSON of the response, None if it has no body."""
        import httpx

        try:
            # Send the type even without a body: the service refuses a POST that a page of another site could send.
            headers = {"Content-Type": "application/json"} if method == "POST" else {}
            more = {} if body is None else {"json": body}
            answer = self._http.request(method, path, params=list(query), headers=headers, **more)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise Unavailable(f"the service at {self._url} does not answer: {error or type(error).__name__}") from error
        if not answer.is_success:
            self._refuse(answer)
        return answer.json() if answer.content else None

    def server(self, name: str) -> dict[str, Any]:
        """The server of that name or id, in full. Raises `InvalidRequest` when there is none or several."""
        found = [server for server in self.servers() if name in (server["id"], server["name"])]
        return _one(found, "server", name)

    def servers(self) -> list[dict[str, Any]]:
        """Every server, in full."""
        return self._all("/servers/detail", "servers")

    def with_drift(self, servers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The servers with `drift`: how many findings about each break a promise, None where its host has reported no audit."""
        audited = {host["name"] for host in self.ask("GET", "/v1/hosts")["hosts"] if host["drift"] is not None}
        found = self.pages("/v1/drift", "findings", [("severity", "drift")])
        numbers = Counter(one["finding"]["guest_id"] for answer in found for one in answer["findings"])
        return [{**server, "drift": numbers[server["id"]] if server["OS-EXT-SRV-ATTR:host"] in audited else None} for server in servers]

    def flavor(self, name: str) -> dict[str, Any]:
        """The flavor of that name or id. Raises `InvalidRequest` when there is none."""
        found = [flavor for flavor in self.flavors() if name in (flavor["id"], flavor["name"])]
        return _one(found, "flavor", name)

    def flavors(self) -> list[dict[str, Any]]:
        """Every flavor, public or not."""
        return self._all("/flavors/detail", "flavors", [("is_public", "None")])

    def image(self, name: str) -> dict[str, Any]:
        """The image of that name or id. Raises `InvalidRequest` when there is none."""
        images = self.ask("GET", "/image/v2/images", query=[("name", name)])["images"]
        if not images:
            images = [image for image in self.ask("GET", "/image/v2/images", query=[("id", name)])["images"] if image["id"] == name]
        return _one(images, "image", name)

    def pages(self, path: str, key: str, query: Query = (), *, marker: str = "id") -> Iterator[dict[str, Any]]:
        """Every page of a list of the service, as it answers it; `key` has the entries, and `marker` tells one entry from the others."""
        after: Query = ()
        while True:
            answer = self.ask("GET", path, query=[*query, *after])
            yield answer
            if f"{key}_links" not in answer or not answer[key]:
                return
            after = [("marker", answer[key][-1][marker])]

    def _all(self, path: str, key: str, query: Query = ()) -> list[dict[str, Any]]:
        return [one for answer in self.pages(_COMPUTE + path, key, query) for one in answer[key]]

    def _refuse(self, answer: httpx.Response) -> None:
        """Raise the error that a refusal stands for, with the service's own sentence."""
        try:
            message = next(iter(answer.json().values()))["message"]
        except (ValueError, AttributeError, KeyError, TypeError, StopIteration):
            message = f"HTTP {answer.status_code}"
        if answer.status_code == 401:
            raise InvalidRequest(_unknown_account(self._access), key="password" if self._access.username else "username")
        if answer.status_code == 429:
            raise Unavailable(f"the service at {self._url} takes no more requests for now: {message}")
        if answer.status_code == 409:
            raise Conflict(message)
        if answer.status_code >= 500 and answer.status_code != 501:
            raise Unavailable(f"the service at {self._url} failed: {message}")
        raise InvalidRequest(message)


def _unknown_account(access: Access) -> str:
    where = f"the service at {access.url}"
    if not access.username:
        return f"{where} needs an account, and {access.source} names none; write username and password below auth"
    return f"{where} refuses the password that {access.source} gives for account {access.username!r}, or does not have that account"


def _one(found: Sequence[dict[str, Any]], noun: str, name: str) -> dict[str, Any]:
    if not found:
        raise InvalidRequest(f"there is no {noun} {name!r}", key=noun)
    if len(found) > 1:
        ids = ", ".join(item["id"] for item in found[:5])
        raise InvalidRequest(f"there are {len(found)} {noun}s called {name!r}; name one by its id: {ids}", key=noun)
    return found[0]


@contextmanager
def open_access(config: Sequence[str] | None, *, seconds: float = _SECONDS) -> Iterator[Service]:
    """The service for one command, until the block ends. `timeout` bounds each response. Raises `InvalidRequest` when none is configured.

    It reports a missing package before a missing clouds.yaml: with a base installation, the advice to run `pinfold up` would not help.
    """
    import httpx  # noqa: F401
    import yaml  # noqa: F401

    from pinfold.config import find_files, load

    state_dir = load(find_files(config or (), os.environ, nova=False)).settings.state_dir
    service = Service(find_access(os.environ, state_dir), seconds=seconds)
    try:
        yield service
    finally:
        service.close()


def segment(text: str) -> str:
    """Escape a text as one segment of a URL path.

    >>> segment("a/b c")
    'a%2Fb%20c'
    """
    return quote(text, safe="")
