"""What a real slurmrestd cannot be brought to do: change its versions, speak nonsense, answer too much."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import httpx
import pytest

from openportal.agents.scheduler.slurm import rest
from openportal.agents.scheduler.slurm.rest import Rest, client_of
from openportal.agents.scheduler.slurm.token import Tokens
from openportal.errors import ConfigError, RunError, Unavailable

Answer = Callable[[httpx.Request], httpx.Response]
NOT_THERE = httpx.Response(404, text="Unable find requested URL.")


class Fixed:
    async def make(self) -> str:
        return "token"


def client(answer: Answer) -> Rest:
    transport = httpx.MockTransport(answer)
    http = httpx.AsyncClient(base_url="http://slurm", transport=transport)
    return Rest(http, Tokens(Fixed(), 600, time.monotonic), 5.0, 2)


class Serving:
    """A slurmrestd with these API versions, which can be exchanged."""

    def __init__(self, *versions: int) -> None:
        self.versions = versions
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        if not any(f"/v0.0.{number}/" in path for number in self.versions):
            return NOT_THERE
        return httpx.Response(200, json={"clusters": [{"name": path.split("/")[2]}], "errors": []})


@pytest.mark.parametrize("served", [(43, 42, 41), (44, 43), (40,), (39, 38), (38, 37, 36)])
async def test_the_newest_version_that_both_know(served: tuple[int, ...]) -> None:
    assert await client(Serving(*served)).api() == max(number for number in served if number <= 43)


async def test_a_version_is_looked_for_once() -> None:
    serving = Serving(40)
    transport = client(serving)
    for _ in range(3):
        assert await transport.clusters() == ("v0.0.40",)
    assert serving.asked == [f"/slurm/v0.0.{n}/ping" for n in (43, 42, 41, 40)] + ["/slurmdb/v0.0.40/clusters"] * 3


async def test_a_slurmrestd_that_was_upgraded_is_asked_again() -> None:
    serving = Serving(40)
    transport = client(serving)
    await transport.clusters()
    serving.versions = (42,)
    assert await transport.clusters() == ("v0.0.42",)


@pytest.mark.parametrize("served", [(), (36,), (44,)])
async def test_a_server_with_no_version_that_we_know(served: tuple[int, ...]) -> None:
    with pytest.raises(RunError, match=r"serves none of v0\.0\.38 to v0\.0\.43"):
        await client(Serving(*served)).clusters()


async def test_a_path_that_is_gone_although_the_version_is_there() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={}) if request.url.path.endswith("ping") else NOT_THERE

    with pytest.raises(RunError, match=r"slurmrestd has no /slurmdb/v0\.0\.43/clusters"):
        await client(answer).clusters()


@pytest.mark.parametrize("text", ["<html>", "", '{"errors": []'])
async def test_nonsense_is_an_error(text: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={}) if request.url.path.endswith("ping") else httpx.Response(200, text=text)

    with pytest.raises(RunError, match="no JSON"):
        await client(answer).clusters()


async def test_an_answer_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "ANSWER_MAX_BYTES", 1000)
    with pytest.raises(RunError, match="larger than 1000 bytes: ask for less"):
        await client(lambda request: httpx.Response(200, text=json.dumps({"x": "y" * 1000}))).clusters()


async def test_names_do_not_become_paths() -> None:
    serving = Serving(43)
    await client(serving).account("../user/root?x=1")
    raw: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        raw.append(request.url.raw_path)
        return httpx.Response(200, json={})

    await client(answer).account("../user/root?x=1")
    assert raw[-1] == b"/slurmdb/v0.0.43/account/..%2Fuser%2Froot%3Fx%3D1"


async def test_a_link_that_breaks_is_tried_later() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("")

    with pytest.raises(Unavailable, match="cannot be reached at http://slurm: ReadError"):
        await client(answer).clusters()


@pytest.mark.parametrize("server", ["ctl:6820", "", "ftp://ctl"])
def test_an_address_of_another_kind_is_refused(server: str) -> None:
    with pytest.raises(ConfigError, match="slurm-server is such as"):
        client_of(server, "root")


@pytest.mark.parametrize(
    ("server", "base"),
    [
        ("http://ctl:6820/", "http://ctl:6820"),
        ("https://ctl", "https://ctl"),
        ("unix:/run/slurm/socket", "http://slurmrestd"),
        ("unix:///run/slurm/socket", "http://slurmrestd"),
    ],
)
async def test_addresses(server: str, base: str) -> None:
    made = client_of(server, "portal")
    assert (str(made.base_url).rstrip("/"), made.headers["X-SLURM-USER-NAME"]) == (base, "portal")
    await made.aclose()
