"""The web page's sign-in with Keystone, over the real application with keystoneauth and keystonemiddleware.

Only Keystone itself is a stand-in, at its HTTP boundary; `tests/real/identity` signs in at a real one.
"""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Iterator
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from tests.ports import free_port
from tests.rig.in_process import ADMIN, PATIENT, Fleet, InProcess
from tests.rig.keystone_stand_in import KeystoneStandIn, authtoken, keystone_stand_in
from tests.rig.web_page import FORM, PAGE

from pinfold.api.app import create_app
from pinfold.api.keystone import KeystoneTokens
from pinfold.api.keystone_sign_in import KeystoneSignIn
from pinfold.api.ui.sessions import SESSION_SECONDS, STREAMS_PER_ACCOUNT
from pinfold.api.ui.token_cookies import KEY, TokenCookies
from pinfold.config.keystone import keystone_conf
from pinfold.core.settings import AttemptLimits
from pinfold.store.service_keys import shared_key

USERS = {
    "ada": {"red": "admin"},
    "mia": {"red": "member"},
    "rob": {"red": "reader"},
    "sam": {"red": "admin", "blue": "admin"},
    "nil": {},
}


class Browser:
    """One API process with Keystone, as a browser uses it. Nothing is remembered of tokens, so that a revoked one counts at once."""

    def __init__(self, fleet: Fleet, folder: Path, url: str, *, accounts: bool = False, limits: AttemptLimits = PATIENT) -> None:
        file = folder / "pinfold.conf"
        file.write_text(authtoken(url) + "token_cache_time = -1\nhttp_request_max_retries = 0\n")
        conf = keystone_conf([str(file)])
        self.tokens, self.keystone = KeystoneTokens(conf), KeystoneSignIn(conf, limits)
        self.cookies = TokenCookies(fleet.services.database.change(lambda connection: shared_key(connection, KEY)))
        self.services = dataclasses.replace(
            fleet.services,
            tokens=self.tokens,
            keystone=self.keystone,
            cookies=self.cookies,
            checks=fleet.services.checks if accounts else None,
        )
        self.http = httpx.Client(transport=InProcess(create_app(self.services)), base_url="http://pinfold.test", timeout=None)

    def get(self, path: str = "/ui", *, accept: str = "text/html") -> httpx.Response:
        return self.http.get(path, headers={"Accept": accept})

    def sign_in(self, name: str, password: str | None = None, **more: str) -> httpx.Response:
        typed = {"name": name, "password": name if password is None else password, "domain": "Default"} | more
        headers = {key: value for key, value in FORM.items() if key != "Authorization"}
        return self.http.post("/ui/sign-in", content=str(httpx.QueryParams(typed)), headers=headers)

    def sign_out(self) -> httpx.Response:
        headers = {key: value for key, value in FORM.items() if key != "Authorization"}
        return self.http.post("/ui/sign-out", headers=headers)

    def close(self) -> None:
        self.http.close()
        self.tokens.close()
        self.keystone.close()


@pytest.fixture(scope="module")
def standing() -> Iterator[KeystoneStandIn]:
    with keystone_stand_in(USERS) as made:
        yield made


@pytest.fixture
def keystone(standing: KeystoneStandIn) -> KeystoneStandIn:
    """It answers, and no token is out."""
    standing.failing, standing.seconds = False, 3600.0
    standing.tokens.clear()
    return standing


@pytest.fixture(scope="module")
def process(standing_fleet: Fleet, standing: KeystoneStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(standing_fleet, tmp_path_factory.mktemp("process"), standing.url)
    yield made
    made.close()


@pytest.fixture
def browser(process: Browser, keystone: KeystoneStandIn) -> Browser:
    """A browser without cookies. The service's own token was dropped with the others, so the first check renews it."""
    process.http.cookies.clear()
    return process


def said(page: httpx.Response) -> str:
    """The sentence above the form."""
    return unescape(page.text.partition('role="alert">')[2].partition("</p>")[0])


def test_an_admin_signs_in_reads_and_signs_out_and_only_a_cookie_is_kept(
    browser: Browser, keystone: KeystoneStandIn, standing_fleet: Fleet, tmp_path: Path
) -> None:
    away = browser.get()
    assert (away.status_code, away.headers["location"]) == (303, "/ui/sign-in")
    form = browser.get("/ui/sign-in").text
    for field in ('name="name"', 'name="password"', 'name="project"', 'name="domain" value="Default"'):
        assert field in form
    assert "<script" not in form and 'name="by"' not in form

    done = browser.sign_in("ada", project="red")
    assert (done.status_code, done.headers["location"]) == (303, "/ui")
    cookie = done.headers["set-cookie"]
    for words in ("HttpOnly", "SameSite=lax", "Path=/ui", "Max-Age=3"):
        assert words in cookie, cookie
    (token,) = [token for token, shown in keystone.tokens.items() if shown["user"]["name"] == "ada"]
    assert token not in cookie and not re.search(r"\bada\b", cookie)
    page = browser.get()
    assert page.status_code == 200
    assert "Signed in as ada" in page.text and 'href="/ui/hosts/c1"' in page.text
    assert browser.http.get("/v1/hosts").status_code == 401, "the cookie is for the page alone"
    assert browser.get("/ui/hosts/c1/disable").status_code == 200

    other = Browser(standing_fleet, tmp_path, keystone.url)
    other.http.headers["Cookie"] = cookie.partition(";")[0]
    assert other.get().status_code == 200, "another API process knows the session"

    out = browser.sign_out()
    assert out.headers["location"] == "/ui/sign-in" and "Max-Age=0" in out.headers["set-cookie"]
    assert token not in keystone.tokens, "the token is revoked"
    assert browser.get().headers["location"] == "/ui/sign-in"
    ended = other.get()
    assert (ended.status_code, ended.headers["location"]) == (303, "/ui/sign-in?ended")
    other.close()


@pytest.mark.parametrize(
    "more", [{"password": "wrong"}, {"project": "blue"}, {"project": "nowhere"}, {"domain": "elsewhere"}], ids=lambda more: next(iter(more))
)
def test_wrong_credentials_are_one_sentence_and_leave_no_cookie(browser: Browser, more: dict[str, str]) -> None:
    wrong = browser.sign_in("ada", **more)
    assert (wrong.status_code, said(wrong)) == (401, "Keystone does not accept this name, password, project and domain.")
    assert "set-cookie" not in wrong.headers
    assert 'name="name" value="ada"' in wrong.text and "wrong" not in wrong.text


def test_a_refused_sign_in_is_in_the_audit_log_without_its_password(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    address = httpx.Client(
        transport=InProcess(create_app(browser.services)), base_url="http://pinfold.test"
    )  # its audit log has had no line yet
    with caplog.at_level("INFO"):
        address.post("/ui/sign-in", content="name=ada&password=guess", headers={k: v for k, v in FORM.items() if k != "Authorization"})
    address.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "pinfold.audit"]
    assert any('"event": "login", "account": "ada"' in line for line in lines), lines
    assert not any("guess" in record.getMessage() for record in caplog.records)


def test_nothing_typed_is_refused_without_asking_keystone(browser: Browser, keystone: KeystoneStandIn) -> None:
    before = len(keystone.asked)
    assert said(browser.sign_in("", "")) == "A name and a password are required."
    assert len(keystone.asked) == before


@pytest.mark.parametrize(("name", "role"), [("mia", "member"), ("rob", "reader")])
def test_members_and_readers_see_no_hosts_and_are_told_so(browser: Browser, keystone: KeystoneStandIn, name: str, role: str) -> None:
    refused = browser.sign_in(name, project="red")
    sentence = f"This page shows hosts, for which {name} needs the role admin in the project, and has only {role}."
    assert (refused.status_code, said(refused)) == (403, sentence)
    assert "set-cookie" not in refused.headers
    assert not [shown for shown in keystone.tokens.values() if shown["user"]["name"] == name], "the token is revoked"


def test_without_a_project_the_only_one_is_taken_and_several_are_named(browser: Browser) -> None:
    assert browser.sign_in("ada").status_code == 303
    several = browser.sign_in("sam")
    assert (several.status_code, said(several)) == (401, "The user sam has several projects: name one of blue, red.")
    assert browser.sign_in("sam", project="blue").status_code == 303
    none = browser.sign_in("nil")
    assert (none.status_code, said(none)) == (401, "The user nil has no role in any project.")


def test_a_user_who_must_choose_a_project_has_typed_no_wrong_password(
    standing_fleet: Fleet, keystone: KeystoneStandIn, tmp_path: Path
) -> None:
    browser = Browser(standing_fleet, tmp_path, keystone.url, limits=AttemptLimits(wrong_per_minute=1, refusal_seconds=0.0))
    assert [browser.sign_in("sam").status_code for _ in range(3)] == [401] * 3
    assert browser.sign_in("sam", project="blue").status_code == 303
    browser.close()


def test_a_token_that_has_expired_by_this_clock_is_refused_with_the_reason(
    browser: Browser, keystone: KeystoneStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinfold.api.ui.sign_in.time", SimpleNamespace(time=lambda: time.time() + 7200))
    refused = browser.sign_in("ada")
    assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    assert said(refused) == "Keystone's token has expired already: the clocks of Keystone and of this service differ."


def test_what_is_not_keystone_at_that_address_is_one_sentence(standing_fleet: Fleet, tmp_path: Path) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = b'{"token": []}'
            self.send_response(201)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v3"
    browser = Browser(standing_fleet, tmp_path, url)
    away = browser.sign_in("ada")
    assert (away.status_code, said(away)) == (503, f"Keystone at {url} does not answer; try again in a few seconds.")
    browser.close()
    server.shutdown()
    server.server_close()
    thread.join()


def test_keystone_away_is_one_sentence_at_the_sign_in_and_on_the_pages(
    browser: Browser, keystone: KeystoneStandIn, standing_fleet: Fleet, tmp_path: Path
) -> None:
    assert browser.sign_in("ada").status_code == 303
    keystone.failing = True
    away = browser.sign_in("ada")
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert said(away) == f"Keystone at {keystone.url} does not answer; try again in a few seconds."
    page = browser.get()
    assert (page.status_code, "cannot check tokens now; try again in a few seconds" in page.text) == (503, True)
    assert browser.sign_out().status_code == 303, "one may sign out all the same"
    url = f"http://127.0.0.1:{free_port()}/v3"
    nobody = Browser(standing_fleet, tmp_path, url)
    away = nobody.sign_in("ada")
    assert (away.status_code, said(away)) == (503, f"Keystone at {url} does not answer; try again in a few seconds.")
    nobody.close()


def test_a_session_ends_with_its_token_and_the_form_says_so(browser: Browser, keystone: KeystoneStandIn) -> None:
    keystone.seconds = 3.0
    assert browser.sign_in("ada").status_code == 303
    end = time.monotonic() + 60
    cookies = dict(browser.http.cookies)
    while browser.http.get("/ui", headers=PAGE | {"Cookie": _header(cookies)}).status_code == 200:
        assert time.monotonic() < end
        time.sleep(0.2)
    ended = browser.http.get("/ui", headers={"Accept": "text/html", "Cookie": _header(cookies)})
    assert (ended.status_code, ended.headers["location"]) == (303, "/ui/sign-in?ended")
    assert said(browser.get(ended.headers["location"])) == "Your session has ended; sign in again."
    stream = browser.http.get("/ui/live", headers={"Accept": "text/event-stream", "Cookie": _header(cookies)})
    assert (stream.status_code, "The session has ended; sign in again" in stream.text) == (401, True)


def test_a_revoked_token_ends_its_session(browser: Browser, keystone: KeystoneStandIn) -> None:
    keystone.seconds = 10 * SESSION_SECONDS
    done = browser.sign_in("ada")
    assert f"Max-Age={SESSION_SECONDS}" in done.headers["set-cookie"], "no session is longer than one of an account"
    keystone.tokens.clear()
    assert browser.get().headers["location"] == "/ui/sign-in?ended"


def test_a_cookie_that_was_changed_or_made_with_another_key_opens_nothing(browser: Browser, keystone: KeystoneStandIn) -> None:
    token = keystone.token("ada", "red")
    until = time.time() + 60
    right = browser.cookies.sealed(token, until)
    for value in (
        TokenCookies(bytes(32)).sealed(token, until),
        right[:-8] + "AAAAAAA=",
        token,
        browser.cookies.sealed(token, time.time() - 1),
    ):
        answer = browser.http.get("/ui", headers={"Accept": "text/html", "Cookie": f"pinfold_session={value}"})
        assert answer.status_code == 303, value
    assert browser.http.get("/ui", headers={"Accept": "text/html", "Cookie": f"pinfold_session={right}"}).status_code == 200


def test_wrong_passwords_of_one_address_are_bounded_and_keystone_is_not_asked_any_more(
    standing_fleet: Fleet, keystone: KeystoneStandIn, tmp_path: Path
) -> None:
    browser = Browser(standing_fleet, tmp_path, keystone.url, limits=AttemptLimits(wrong_per_minute=2, refusal_seconds=0.0))
    assert [browser.sign_in("ada", "wrong").status_code for _ in range(2)] == [401, 401]
    before = len(keystone.asked)
    refused = browser.sign_in("ada")
    assert (refused.status_code, len(keystone.asked)) == (429, before)
    assert said(refused) == f"Too many password checks; try again in {refused.headers['retry-after']} s."
    browser.close()


def test_accounts_beside_keystone_are_chosen_in_the_form_and_their_passwords_stay_here(
    standing_fleet: Fleet, keystone: KeystoneStandIn, tmp_path: Path
) -> None:
    browser = Browser(standing_fleet, tmp_path, keystone.url, accounts=True)
    assert 'name="by"' in browser.get("/ui/sign-in").text
    before = len(keystone.asked)
    assert said(browser.sign_in(ADMIN[0], "wrong", by="account")) == "The name or the password is wrong."
    assert browser.sign_in(*ADMIN, by="account").status_code == 303
    assert f"Signed in as {ADMIN[0]}" in browser.get().text
    assert len(keystone.asked) == before
    assert browser.sign_in("ada", by="keystone").status_code == 303
    assert "Signed in as ada" in browser.get().text
    browser.close()


def test_streams_are_bounded_for_each_user_of_keystone(browser: Browser) -> None:
    assert browser.sign_in("ada").status_code == 303
    for _ in range(STREAMS_PER_ACCOUNT):
        browser.services.streams.enter("id-ada")
    refused = browser.get("/ui/live", accept="text/event-stream")
    assert (refused.status_code, "The account ada has too many live pages open; close one." in refused.text) == (429, True)
    for _ in range(STREAMS_PER_ACCOUNT):
        browser.services.streams.leave("id-ada")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\x1b[2J", "é" * 200, '"><b>'])
def test_hostile_names_stay_text(browser: Browser, name: str) -> None:
    answer = browser.sign_in(name, "x")
    assert answer.status_code == 401
    assert "<script>" not in answer.text and "\x1b" not in answer.text and '"><b>' not in answer.text


def _header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
