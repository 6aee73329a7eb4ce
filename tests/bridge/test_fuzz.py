"""Whatever is sent, the bridge answers with a sentence and never fails."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.bridge.auth import Verifier
from openportal.bridge.http import Api, bridge_app
from openportal.bridge.keys import KeyRing
from openportal.signing import signed_headers
from tests.bridge.support import KEY, Key, MemoryAgent

RING = KeyRing([Key()])
FUNCTIONS = Api(MemoryAgent(), RING).functions()
Header = tuple[bytes, bytes]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def ask(method: str, path: str, query: bytes, headers: list[Header], parts: list[bytes]) -> tuple[int, bytes]:
    """One request as the server hands it to the app."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode("utf-8", "replace"), "query_string": query, "root_path": "", "headers": headers,
        "client": ("192.0.2.1", 5), "server": ("127.0.0.1", 80), "scheme": "http",
    }  # fmt: skip
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await bridge_app(MemoryAgent(), Verifier(RING, time.time), RING)(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], sent[1]["body"]


def signature(function: str, body: bytes, nonce: str) -> list[Header]:
    date, method = formatdate(usegmt=True), FUNCTIONS[function][0].lower()
    headers = signed_headers(KEY, method, function, body.decode(), date, nonce)
    return [(name.encode(), value.encode()) for name, value in headers.items()]


paths = st.one_of(
    st.sampled_from([f"/{name}" for name in FUNCTIONS]), st.text(max_size=20).map(lambda text: "/" + text)
)
names = st.sampled_from([
    b"authorization", b"date", b"x-nonce", b"x-openportal-signature-version", b"x-forwarded-for", b"content-length",
])  # fmt: skip
values = st.one_of(
    st.binary(max_size=80), st.just(b"OpenPortal " + b"0" * 64), st.sampled_from([b"1", b"2"]),
    st.builds(lambda: formatdate(usegmt=True).encode()),
)  # fmt: skip
texts = st.one_of(
    st.text(max_size=30), st.sampled_from(["brics.aip1 get_users p.b", "a.b get_users fail.b", "a1b2c3d4", "soft"])
)
keys = st.sampled_from([
    "command", "job", "id", "state", "version", "created", "changed", "expires", "destination", "restart_type", "error",
    "result",
])  # fmt: skip
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.sampled_from(["Pending", "Complete"])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(keys, texts), inner, max_size=12)),
    max_leaves=12,
)
bodies = st.one_of(
    json_values.map(lambda value: json.dumps(value).encode()),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False).encode()),
    st.text(max_size=50).map(str.encode),
    st.integers(1, 100_000).map(lambda depth: b"[" * depth),
    st.just(b'{"command":"\\ud800.b x"}'),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "x"]),
    paths,
    st.lists(st.tuples(names, values), max_size=6),
    st.binary(),
)
def test_unsigned_requests_get_nowhere(method: str, path: str, headers: list[Header], body: bytes) -> None:
    status, answer = asyncio.run(ask(method, path, b"", headers, [body]))
    assert status in ({200, 405} if path == "/" else {400, 401, 404, 405})
    assert path == "/" or json.loads(answer)["message"]


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(sorted(FUNCTIONS)), bodies, st.one_of(st.just(b""), st.binary(max_size=20).map(b"wait=".__add__))
)
def test_signed_requests_are_answered_or_refused(function: str, body: bytes, query: bytes) -> None:
    headers = signature(function, body, "n")
    status, answer = asyncio.run(ask(FUNCTIONS[function][0], f"/{function}", query, headers, [body[:5], body[5:]]))
    assert status in {200, 400, 404}
    assert status == 200 or json.loads(answer)["message"]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FUNCTIONS)), bodies, st.data())
def test_one_changed_byte_is_refused(function: str, body: bytes, data: st.DataObject) -> None:
    headers = signature(function, body, "n")
    at = data.draw(st.integers(0, max(0, len(body) - 1)))
    changed = body[:at] + bytes([(body[at] if body else 0) ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
    status, _ = asyncio.run(ask(FUNCTIONS[function][0], f"/{function}", b"", headers, [changed]))
    assert status in {400, 401}
