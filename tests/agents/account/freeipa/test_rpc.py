"""The session, before a server in memory that answers as the recorded one did."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import httpx
import pytest

from openportal.agents.account.freeipa import rpc
from openportal.agents.account.freeipa.calls import Call, IpaDown, IpaLogin, IpaRefusal, IpaUntrusted
from openportal.agents.account.freeipa.rpc import LOGIN_BACKOFF_SECONDS, Credentials, Session, trust
from openportal.errors import ConfigError, JobError

RECORDING = json.loads(Path(__file__).with_name("answers.json").read_text())
COOKIE = "ipa_session=MagBearerToken=a%2fb%2bc"
PING = Call("ping", "")


class Web:
    """What the web server does with the next requests; then it answers as usual."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []
        self.next: list[httpx.Response | Exception] = []
        self.logins = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if self.next:
            found = self.next.pop(0)
            if isinstance(found, Exception):
                raise found
            return found
        if request.url.path.endswith("login_password"):
            self.logins += 1
            return httpx.Response(200, headers={"Set-Cookie": f"{COOKIE}{self.logins};path=/ipa;httponly;secure;"})
        return httpx.Response(200, json=RECORDING["answers"]["ping"])


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
async def session(web: Web, now: list[float]) -> Session:
    made = Session("srv.test", Credentials("op-agent", "p/w&d"), ssl.create_default_context(), lambda: now[0])
    made._http = httpx.AsyncClient(transport=httpx.MockTransport(web), headers={"Referer": "https://srv.test/ipa"})
    return made


def page(name: str) -> httpx.Response:
    found = RECORDING["pages"][name]
    return httpx.Response(found["status"], headers=found["headers"], text=found["text"])


async def test_a_login_and_a_call(session: Session, web: Web) -> None:
    assert (await session.call(PING))["summary"]
    assert await session.call(PING)
    login, first, second = web.seen
    assert login.content == b"user=op-agent&password=p%2Fw%26d"
    assert login.headers["Referer"] == first.headers["Referer"] == "https://srv.test/ipa"
    assert first.headers["Cookie"] == second.headers["Cookie"] == f"{COOKIE}1"
    assert json.loads(first.content)["method"] == "ping"


async def test_calls_at_once_log_in_once(session: Session, web: Web) -> None:
    await asyncio.gather(*(session.call(PING) for _ in range(5)))
    assert web.logins == 1


async def test_a_session_that_ended_is_opened_once_more(session: Session, web: Web) -> None:
    await session.call(PING)
    web.next = [page("no session")]
    assert await session.call(PING)
    assert web.seen[-1].headers["Cookie"] == f"{COOKIE}2"
    await session.call(PING)
    assert web.logins == 2


async def test_a_session_that_is_never_accepted(session: Session, web: Web) -> None:
    await session.call(PING)
    fresh = httpx.Response(200, headers={"Set-Cookie": f"{COOKIE};path=/"})
    web.next = [page("no session"), fresh, page("no session")]
    with pytest.raises(IpaLogin, match="clock"):
        await session.call(PING)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong password", "password is wrong"),
        ("unknown user", "no such user"),
        ("disabled user", "disabled or locked"),
        ("expired password", "password has expired"),
    ],
)
async def test_a_refused_login_as_it_was_recorded(
    session: Session, web: Web, now: list[float], name: str, words: str
) -> None:
    web.next = [page(name)]
    for _ in range(3):
        with pytest.raises(IpaLogin, match=words) as caught:
            await session.call(PING)
        assert "p/w&d" not in str(caught.value)
    assert len(web.seen) == 1
    now[0] += LOGIN_BACKOFF_SECONDS
    assert await session.call(PING)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (httpx.ConnectError("refused"), IpaDown, "cannot be reached"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), IpaUntrusted, "freeipa-ca-file"),
        (httpx.ReadTimeout("slow"), IpaDown, "did not answer within"),
        (httpx.RemoteProtocolError("closed"), IpaDown, "without an answer"),
        (page("directory down"), IpaDown, "answers 500"),
        (page("foreign referer"), IpaRefusal, "name it in full"),
        (httpx.Response(200, text="<html>hello"), IpaDown, "not JSON"),
        (httpx.Response(200, json=["hello"]), IpaDown, "no result of a call"),
    ],
)
async def test_no_answer_of_the_api(
    session: Session, web: Web, answer: httpx.Response | Exception, error: type[JobError], words: str
) -> None:
    await session.call(PING)
    web.next = [answer]
    with pytest.raises(error, match=words):
        await session.call(PING)
    assert await session.call(PING)
    assert web.logins == 1


async def test_only_a_refused_connection_is_certain(session: Session, web: Web) -> None:
    for answer, refused in ((httpx.ConnectError("x"), True), (httpx.ReadError("x"), False), (page("kdc down"), False)):
        web.next = [answer]
        with pytest.raises(IpaDown) as caught:
            await session.call(PING)
        assert caught.value.refused is refused


async def test_a_server_that_gives_no_session(session: Session, web: Web) -> None:
    web.next = [httpx.Response(200)]
    with pytest.raises(IpaDown, match="is it a FreeIPA server"):
        await session.call(PING)


async def test_an_answer_has_an_end(session: Session, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "ANSWER_MAX_BYTES", 10)
    with pytest.raises(IpaRefusal, match="more than 10 bytes"):
        await session.call(PING)


async def test_a_batch_has_more_time_than_a_call(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    async def ask(body: object, seconds: float) -> object:
        given.append(seconds)
        return {"result": {"results": [{"error": None}] * 2}, "error": None}

    monkeypatch.setattr(session, "_ask", ask)
    await session.send([PING])
    await session.send([PING, Call("group_add_member", "g", members=("a", "b", "c"))])
    assert given == [rpc.CALL_SECONDS, rpc.CALL_SECONDS + 3 * rpc.FURTHER_CALL_SECONDS]


def test_certificates_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no.crt").write_text("no certificate")
    with pytest.raises(ConfigError, match="freeipa-ca-file"):
        trust(str(tmp_path / "no.crt"), insecure=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.crt"))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        trust(None, insecure=False)
