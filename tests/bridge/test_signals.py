"""The portal software is told, again if need be, and not for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openportal.bridge import signals
from openportal.bridge.serve import HttpServer
from openportal.bridge.signals import QUEUE_MAX_NOTIFICATIONS, Patience, Signaller
from tests.bridge.support import serving

QUICK = Patience(pause_seconds=0.01, between_seconds=0, connect_max_seconds=1, answer_max_seconds=0.3)


@dataclass
class Software:
    """Portal software that answers with the statuses it is given, then 200; notes whom it was called about."""

    statuses: list[int] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    on_call: Callable[[str], object] | None = None
    hang_seconds: float = 0
    url: str = ""

    async def __call__(self, request: Request) -> Response:
        self.calls.append((request.url.path, request.url.query))
        if self.on_call is not None:
            await self.on_call(request.url.query.rpartition("=")[2])  # type: ignore[misc]
        await asyncio.sleep(self.hang_seconds)
        return Response(status_code=self.statuses.pop(0) if self.statuses else 200)


@dataclass
class Told:
    gave_up: list[tuple[str, str]] = field(default_factory=list)
    notified: list[tuple[str, bool]] = field(default_factory=list)


@asynccontextmanager
async def signalling(software: Software, patience: Patience = QUICK) -> AsyncIterator[tuple[Signaller, Told]]:
    server, told = HttpServer(), Told()
    app = Starlette(routes=[Route("/{path:path}", software.__call__)])
    await server.start(app, "127.0.0.1", 0)
    software.url = f"http://127.0.0.1:{server.port}"
    signaller = Signaller(
        f"{software.url}/signal",
        f"{software.url}/notes?site=x",
        on_gave_up=lambda *it: told.gave_up.append(it),
        on_notified=lambda *it: told.notified.append(it),
        patience=patience,
    )
    await signaller.start()
    try:
        yield signaller, told
    finally:
        await signaller.stop()
        await server.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_job_is_signalled_once() -> None:
    software = Software()
    async with signalling(software) as (signaller, told):
        assert await signaller.job("1234")
    assert software.calls == [("/signal", "job_id=1234")]
    assert told.gave_up == []


async def test_a_job_is_signalled_again_until_it_works() -> None:
    software = Software([500, 302, 404, 503])
    async with signalling(software) as (signaller, told):
        assert await signaller.job("1234")
    assert len(software.calls) == 5
    assert told.gave_up == []


async def test_five_tries_in_vain_are_enough() -> None:
    software = Software([500] * 9)
    async with signalling(software) as (signaller, told):
        began = time.monotonic()
        assert not await signaller.job("1234")
        assert time.monotonic() - began >= 4 * QUICK.pause_seconds
    assert len(software.calls) == 5
    assert told.gave_up == [("1234", f"{software.url}/signal answered 500")]


async def test_forbidden_is_final() -> None:
    software = Software([403])
    async with signalling(software) as (signaller, told):
        assert not await signaller.job("1234")
    assert len(software.calls) == 1
    assert told.gave_up[0][1].endswith("answered 403")


async def test_software_that_hangs_or_is_away() -> None:
    software = Software(hang_seconds=1)
    async with signalling(software, Patience(0.001, 0, 1, 0.05)) as (signaller, told):
        assert not await signaller.job("1234")
    assert len(software.calls) == 5
    assert "did not answer" in told.gave_up[0][1]
    away = Told()
    signaller = Signaller(
        "http://127.0.0.1:1/x", None, on_gave_up=lambda *it: away.gave_up.append(it), on_notified=print, patience=QUICK
    )
    await signaller.start()
    assert not await signaller.job("1")
    assert "ConnectError" in away.gave_up[0][1]
    await signaller.stop()


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/y", "http://[::1"])
async def test_urls_that_cannot_be_called(url: str) -> None:
    told = Told()
    signaller = Signaller(
        url, url, on_gave_up=lambda *it: told.gave_up.append(it), on_notified=lambda *it: told.notified.append(it)
    )
    await signaller.start()
    async with asyncio.timeout(1):
        assert not await signaller.job("1")
    signaller.notification("n")
    await until(lambda: told.notified == [("n", False)])
    await signaller.stop()
    assert len(told.gave_up) == 1


async def test_software_without_urls_asks_by_itself() -> None:
    """Nothing is given up for it, and nothing queued."""
    told = Told()
    signaller = Signaller(
        None, None, on_gave_up=lambda *it: told.gave_up.append(it), on_notified=lambda *it: told.notified.append(it)
    )
    await signaller.start()
    assert not await signaller.job("1")
    signaller.notification("n")
    await signaller.stop()
    assert (told.gave_up, told.notified) == ([], [])


async def test_notifications_go_out_in_order_and_keep_the_query() -> None:
    software, ids = Software(), [str(n) for n in range(20)]
    async with signalling(software) as (signaller, told):
        for id in ids:
            signaller.notification(id)
        await until(lambda: len(told.notified) == 20)
        assert (signaller.sent, signaller.failed) == (20, 0)
    assert software.calls == [("/notes", f"site=x&notification_id={id}") for id in ids]
    assert told.notified == [(id, True) for id in ids]


async def test_a_notification_is_tried_three_times_and_the_next_one_follows() -> None:
    software = Software([500, 500, 500])
    async with signalling(software) as (signaller, told):
        signaller.notification("a")
        signaller.notification("b")
        await until(lambda: len(told.notified) == 2)
    assert told.notified == [("a", False), ("b", True)]
    assert len(software.calls) == 4


async def test_a_notification_can_be_fetched_while_its_signal_is_open() -> None:
    async with serving() as bridge:
        note = {"id": str(uuid4()), "destination": "bridge.brics", "event": {"UserAdded": "u.p.b"}}
        fetched = []

        async def fetch(id: str) -> None:
            fetched.append((await bridge.client.post("fetch_notification", id)).json())

        async with signalling(Software(on_call=fetch)) as (signaller, told):
            bridge.agent.notifications[note["id"]] = note
            signaller.notification(note["id"])
            await until(lambda: bool(told.notified))
        assert fetched == [note]


async def test_a_queue_that_overflows_is_emptied() -> None:
    software = Software(hang_seconds=0.05)
    async with signalling(software) as (signaller, told):
        signaller.notification("first")
        await until(lambda: bool(software.calls))
        for n in range(QUEUE_MAX_NOTIFICATIONS + 1):
            signaller.notification(str(n))
        assert signaller.failed == QUEUE_MAX_NOTIFICATIONS
        await until(lambda: signaller.sent == 2)
    assert [id for id, sent in told.notified if sent] == ["first", "500"]


async def test_stop_says_what_was_not_sent() -> None:
    async with signalling(Software(hang_seconds=0.2)) as (signaller, told):
        for id in "abc":
            signaller.notification(id)
        await asyncio.sleep(0.05)
    assert told.notified == [("a", False), ("b", False), ("c", False)]
    assert not await signaller.job("late")


async def test_many_jobs_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "AT_ONCE_MAX_SIGNALS", 4)
    open_now: list[int] = [0, 0]

    async def count(id: str) -> None:
        open_now[0] += 1
        open_now[1] = max(open_now)
        await asyncio.sleep(0.01)
        open_now[0] -= 1

    async with signalling(Software(on_call=count)) as (signaller, _):
        assert all(await asyncio.gather(*(signaller.job(str(n)) for n in range(40))))
    assert open_now == [0, 4]
