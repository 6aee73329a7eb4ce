"""Whether agents do their work, by their metrics."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from openportal.cli.readiness import fetch_metrics, missing, wait_ready

AGENT: dict[str, Any] = {
    "name": "aip1",
    "clients": [{"name": "clusters", "zone": "default"}],
    "servers": [{"name": "brics", "zone": "two"}],
    "tables": {"metrics": {"ip": "127.0.0.1", "port": 1}},
}
INFO = 'openportal_build_info{agent="aip1",type="Provider",version="0.94.0",release="0.1.0"} 1.0\n'
LINKS = 'openportal_link_up{peer="clusters@default"} 1.0\nopenportal_link_up{peer="brics@two"} %s\n'
HEAD = "# TYPE openportal_build_info gauge\n# TYPE openportal_link_up gauge\n"


def test_ready_is_who_is_linked_with_everybody() -> None:
    assert list(missing(AGENT, HEAD + INFO + LINKS % "1.0")) == []
    assert list(missing(AGENT, HEAD + INFO + LINKS % "0.0")) == ["aip1 has no link with brics."]
    assert list(missing(AGENT, HEAD + INFO)) == ["aip1 has no link with brics.", "aip1 has no link with clusters."]


def test_metrics_of_somebody_else_are_told() -> None:
    other = INFO.replace("aip1", "aip2")
    assert list(missing(AGENT, HEAD + other + LINKS % "1.0")) == ["aip1: its metrics port is that of aip2."]
    assert "something else" in next(missing(AGENT, LINKS % "1.0"))


def test_it_waits_until_the_links_are_up() -> None:
    answers = iter([OSError(), HEAD + INFO + LINKS % "0.0", HEAD + INFO + LINKS % "1.0"])

    def fetch(agent: Any) -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert wait_ready({"agents": [AGENT]}, 30, fetch) == {"waiting": [], "releases": {"aip1": "0.1.0"}}


def test_it_tells_who_is_missing_when_the_time_is_up() -> None:
    def fetch(agent: Any) -> str:
        raise OSError

    assert wait_ready({"agents": [AGENT]}, 0, fetch) == {"waiting": ["aip1 does not answer."], "releases": {}}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" and self.server.well else 503)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(INFO.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        server.well = True  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_metrics_are_fetched(server: HTTPServer) -> None:
    agent = {**AGENT, "tables": {"metrics": {"ip": "127.0.0.1", "port": server.server_port}}}
    assert fetch_metrics(agent) == INFO
    server.well = False  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="503"):
        fetch_metrics(agent)


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(OSError, match="refused"):
        fetch_metrics(AGENT)
