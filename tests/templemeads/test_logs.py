"""Log lines: what is in them, what must not be, and what they cost."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from openportal.templemeads.logs import (
    MAX_LINE_BYTES,
    MAX_TEXT_CHARACTERS,
    RECENT_LINES,
    REDACTED,
    Handler,
    configure,
    is_secret,
    recent,
)

log = structlog.get_logger("openportal.test")


class Stream(io.StringIO):
    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stream() -> Iterator[Stream]:
    stream = Stream()
    configure("info", stream)
    yield stream
    clean()


def clean() -> None:
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, Handler):
            root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("openportal").setLevel(logging.NOTSET)


def test_a_line(stream: Stream) -> None:
    log.info("connected", agent="aip1", peer="brics@default", job=None, seconds=0.5, count=3, up=True)
    [line] = stream.lines
    assert line.pop("timestamp").startswith(time.strftime("%Y-%m-%dT", time.gmtime()))
    assert line == {
        "level": "info", "logger": "openportal.test", "event": "connected", "agent": "aip1",
        "peer": "brics@default", "job": None, "seconds": 0.5, "count": 3, "up": True,
    }  # fmt: skip


def test_levels(stream: Stream) -> None:
    log.debug("no")
    log.warning("yes")
    configure("error", stream)
    log.warning("no")
    log.error("yes", x=1)
    assert [(line["level"], line["event"]) for line in stream.lines] == [("warning", "yes"), ("error", "yes")]


def test_the_standard_library_writes_the_same_lines(stream: Stream) -> None:
    logging.getLogger("openportal.paddington").info("%s: linked (%s)", "brics@default", "192.0.2.1")
    logging.getLogger("openportal.paddington").debug("no")
    logging.getLogger("somewhere.else").info("no")
    logging.getLogger("somewhere.else").warning("%d of them", 3, extra={"peer": "x", "api_key": "hunter2"})
    logging.getLogger("openportal.paddington").warning("bad arguments", extra={"x": {1, 2}})
    first, second, _ = stream.lines
    assert (first["level"], first["logger"]) == ("info", "openportal.paddington")
    assert first["event"] == "brics@default: linked (192.0.2.1)"
    assert (second["event"], second["peer"], second["api_key"]) == ("3 of them", "x", REDACTED)
    configure("info", stream)  # twice does not write twice
    logging.getLogger("openportal").warning("once")
    assert [line["event"] for line in stream.lines].count("once") == 1


def test_secrets_are_not_written(stream: Stream) -> None:
    secret = "hunter2"
    log.info(
        "x", key=secret, secret=secret, token=secret, password=secret, API_KEY=secret,
        headers={"Authorization": secret},
        config={"a": [{"inner-key": secret, "name": "ok"}]}, deep={"a": {"b": {"c": {"d": {"key": secret}}}}},
        bytes_key=b"hunter2", key_id="k1", keys=3,
    )  # fmt: skip
    text = stream.getvalue()
    assert secret not in text
    [line] = stream.lines
    assert (line["key"], line["key_id"], line["keys"]) == (REDACTED, "k1", 3)
    assert line["config"] == {"a": [{"inner-key": REDACTED, "name": "ok"}]}
    assert is_secret("Session-Key") and not is_secret("monkey")


def test_exceptions(stream: Stream) -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("too deep " + "x" * 10_000)

    try:
        deep(200)
    except ValueError as error:
        log.error("one", exc_info=error)
        log.exception("two")
        logging.getLogger("openportal").exception("three")
    log.error("none", exc_info=None)
    lines = stream.lines
    assert [line["event"] for line in lines] == ["one", "two", "three", "none"]
    for line in lines[:3]:
        assert len(line["exception"]) <= MAX_TEXT_CHARACTERS + 1
    assert lines[3]["exception"] is None


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", ["\ud800", 1 << 200, Unprintable(), {"x": Unprintable()}, float("nan"), b"\xff", {1}])
def test_whatever_it_is_there_is_a_line(stream: Stream, value: Any) -> None:
    log.warning("odd", value=value)
    assert [line["event"] for line in stream.lines] == ["odd"]


def test_a_line_is_one_line_and_bounded(stream: Stream) -> None:
    log.info('a\n{"level":"error"}', peer="x\r\ny", text="é" * 100_000)
    log.info("many", **{f"field{n}": "x" * 3000 for n in range(30)})
    assert len(stream.getvalue().splitlines()) == 2
    assert len(stream.lines[0]["text"]) == MAX_TEXT_CHARACTERS + 1
    assert stream.lines[1]["cut_bytes"] > MAX_LINE_BYTES
    assert max(map(len, stream.getvalue().encode().splitlines())) <= MAX_LINE_BYTES


def test_recent_warnings_of_an_agent(stream: Stream) -> None:
    log.info("no", agent="aip1")
    log.warning("refused", agent="aip1", reason="it is closed")
    log.warning("other", agent="brics")
    logging.getLogger("openportal.paddington").error("of the process")
    assert [(line.level, line.message) for line in recent("aip1")] == [
        ("warning", "refused: it is closed"),
        ("error", "of the process"),
    ]
    for number in range(2 * RECENT_LINES):
        log.warning(str(number), agent="aip1")
    assert len(recent("aip1")) == RECENT_LINES
    clean()
    assert recent("aip1") == []


def test_a_stream_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        configure("info", file)
        log.info("written", x="é")
    log.info("lost")
    logging.getLogger("openportal").info("lost")
    assert [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()] == ["written"]
    clean()


def test_a_line_is_cheap(tmp_path: Path) -> None:
    """About 10 µs with the write; five times that is no longer the machine's mood."""
    lines = 5_000
    with (tmp_path / "log").open("w") as file:
        configure("info", file)
        best = min(timed(lines) for _ in range(3))
    clean()
    assert best / lines < 50e-6


def timed(lines: int) -> float:
    began = time.perf_counter()
    for _ in range(lines):
        log.info("job ended", agent="aip1", job="0b6a3a5e", state="Complete", seconds=0.01, verb="add_user", peer="x")
    return time.perf_counter() - began
