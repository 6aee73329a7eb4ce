"""Logs: one JSON object a line on stderr, from structlog and from the standard library's logging alike.

    {"timestamp":"2026-11-24T07:35:08.945Z","level":"info","logger":"openportal.agent","event":"connected",
     "agent":"aip1","peer":"brics@default"}

Every line has those first four; `agent`, `peer`, `job` and `origin` (where a job comes from) follow where they are
known. Values under names that speak of secrets are never written. The last warnings and errors are kept for
diagnostics; they live in the processor that `configure` installs, so there is no state of ours beside structlog's.

A line costs a few microseconds, and one write. A stream that takes no more lines loses them: logs never stop an agent.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TextIO

import msgspec
import structlog

RECENT_LINES = 100
MAX_LINE_BYTES = 16 * 1024
MAX_TEXT_CHARACTERS = 4_000
MAX_TRACE_FRAMES = 30
MAX_NESTING = 4
REDACTED = "[redacted]"
SECRET_WORDS = ("key", "secret", "token", "password", "authorization")
LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
NAMES: Mapping[int, str] = {number: name for name, number in LEVELS.items()}
ALIASES: Mapping[str, str] = {"warn": "warning", "exception": "error", "fatal": "critical"}
STDLIB_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

Fields = Mapping[str, Any]
Write = Callable[[bytes], None]


class Recent(NamedTuple):
    """A warning or an error that was logged; `at` is in Unix seconds, `agent` None if it is about the process."""

    at: float
    level: str
    target: str
    message: str
    agent: str | None


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether a field of this name may not be shown: `key`, `api_key`, `new-password`, but not `key_id` or `keys`."""
    return name.lower().replace("-", "_").rpartition("_")[2] in SECRET_WORDS


def redacted(value: Any, depth: int = 0) -> Any:
    """`value` without what is under secret names inside it; what is nested too deep is left out."""
    if isinstance(value, dict):
        if depth >= MAX_NESTING:
            return "…"
        return {str(k): REDACTED if is_secret(str(k)) else redacted(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item, depth + 1) for item in value] if depth < MAX_NESTING else "…"
    return value


class Renderer:
    """The last processor of structlog, and the only one: an event becomes a line. Keeps the recent warnings."""

    def __init__(self) -> None:
        self.recent: deque[Recent] = deque(maxlen=RECENT_LINES)
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._second, self._second_text = 0, ""

    def __call__(self, logger: Any, method: str, event: Any) -> bytes:
        return self.line(ALIASES.get(method, method), logger.name, str(event.pop("event", "")), event)

    def line(self, level: str, target: str, message: str, fields: Fields) -> bytes:
        """One line, with its end."""
        now = time.time()
        entry: dict[str, Any] = {"timestamp": self._moment(now), "level": level, "logger": target, "event": message}
        for name, value in fields.items():
            kind = type(value)
            if is_secret(name):
                value = REDACTED
            elif kind is str:
                if len(value) > MAX_TEXT_CHARACTERS:
                    value = f"{value[:MAX_TEXT_CHARACTERS]}…"
            elif name == "exc_info":
                name, value = "exception", trace(value)
            elif value is not None and kind is not int and kind is not float:
                value = redacted(value)
            entry[name] = value
        if level != "info" and level != "debug":
            self._keep(Recent(now, level, target, with_reason(message, entry), entry.get("agent")))
        return self._bytes(entry)

    def _keep(self, recent: Recent) -> None:
        self.recent.append(recent)

    def _bytes(self, entry: dict[str, Any]) -> bytes:
        try:
            line = self._encode(entry)
        except Exception:  # what cannot be said as it is (lone surrogates, huge integers, a __str__ that raises)
            line = self._encode({name: safe_text(value) for name, value in entry.items()})
        if len(line) > MAX_LINE_BYTES:
            short = {name: safe_text(value)[:200] for name, value in list(entry.items())[:20]}
            line = self._encode(short | {"cut_bytes": len(line)})
        return line + b"\n"

    def _moment(self, now: float) -> str:
        """RFC 3339 with milliseconds; the part up to the second is made once a second."""
        second = int(now)
        if second != self._second:
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._second_text}.{int((now - second) * 1000):03d}Z"


def with_reason(message: str, entry: Fields) -> str:
    """What an operator reads in a report: the event, and why."""
    reason = entry.get("reason") or entry.get("exception")
    text = f"{message}: {reason}" if reason else message
    return safe_text(text)[:500]


def safe_text(value: Any) -> str:
    """`value` as text that can always be encoded."""
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception as error:
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"


def trace(exc_info: Any) -> str | None:
    """An exception as text: what structlog and logging take as `exc_info`."""
    if exc_info is True:
        import sys

        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if not isinstance(error, BaseException):
        return None
    text = "".join(traceback.format_exception(error, limit=-MAX_TRACE_FRAMES)).rstrip()
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"…{text[-MAX_TEXT_CHARACTERS:]}"


class Target:
    """What structlog writes lines to; one per logger, with its name."""

    __slots__ = ("_write", "name")

    def __init__(self, name: str, write: Write) -> None:
        self.name, self._write = name, write

    debug = info = warning = error = critical = msg = property(lambda self: self._write)


class Handler(logging.Handler):
    """Brings the standard library's records into the same lines."""

    def __init__(self, renderer: Renderer, write: Write) -> None:
        super().__init__()
        self._renderer, self._write = renderer, write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = {name: value for name, value in vars(record).items() if name not in STDLIB_FIELDS}
            if record.exc_info:
                fields["exc_info"] = record.exc_info
            level = NAMES.get(record.levelno) or record.levelname.lower()
            self._write(self._renderer.line(level, record.name, record.getMessage(), fields))
        except Exception:
            self.handleError(record)


def writer(stream: TextIO) -> Write:
    """Writes a line to a text stream, past its encoding where that is possible."""
    binary = getattr(stream, "buffer", None)

    def write(line: bytes) -> None:
        try:
            if binary is None:
                stream.write(line.decode())
            else:
                binary.write(line)
                binary.flush()
        except (OSError, ValueError):  # a full disk, a closed pipe, a closed stream
            pass

    return write


def configure(level: str, stream: TextIO) -> None:
    """Log lines of `level` and above to `stream`. May be called again; the recent warnings start afresh."""
    number = LEVELS[level]
    renderer, write = Renderer(), writer(stream)
    structlog.configure(
        processors=[renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda name="openportal", *rest: Target(name, write),
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Handler)]:
        root.removeHandler(handler)
    root.addHandler(Handler(renderer, write))
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("openportal").setLevel(number)


def recent(agent: str) -> list[Recent]:
    """The last warnings and errors of one agent and of its process, oldest first; none before `configure`."""
    processors: Iterable[Any] = structlog.get_config()["processors"]
    renderers = [processor for processor in processors if isinstance(processor, Renderer)]
    return [line for each in renderers for line in list(each.recent) if line.agent in (None, agent)]
