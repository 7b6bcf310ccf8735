"""Bodies that are too large or too deep never reach a parser."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.api.asgi import Receive, Scope, Send
from pinfold.api.bounds import MAX_BODY, Bounds, too_deep


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def post(body: bytes) -> httpx.Response:
    transport = httpx.ASGITransport(app=Bounds(echo))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        return await client.post("/thing", content=body)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b'{"a": [1]}', 200, id="an ordinary body passes unchanged"),
        pytest.param(b"x" * MAX_BODY, 200, id="a body of just the bound passes"),
        pytest.param(b"x" * (MAX_BODY + 1), 413, id="a byte more is too large"),
        pytest.param(b"[" * 40 + b"]" * 40, 400, id="forty levels are too deep"),
        pytest.param(b'{"a": "\\u0000"}', 400, id="NUL, which no PostgreSQL text holds"),
        pytest.param(b'{"a": "' + b"[" * 40 + b'"}', 200, id="brackets in a string are no levels"),
    ],
)
def test_bounds(body: bytes, status: int) -> None:
    import asyncio

    answer = asyncio.run(post(body))
    assert answer.status_code == status
    if status == 200:
        assert answer.content == body
    else:
        assert answer.json()["error"]["status"] == status


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((depth(v) for v in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(v) for v in value), default=0)
    return 0


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)))
def test_depth_is_that_of_the_parsed_value(value: Any) -> None:
    assert too_deep(json.dumps(value).encode(), 3) == (depth(value) > 3)
