"""A sandbox of a system: what an agent made, in a folder, for training, demonstrations and tests.

    <folder>/<kind>.jsonl    one line per change: {"at": seconds, "action": "create user", "thing": "users/p.b/alice",
                             "value": {…}}; a kind such as `users/p.b` is in the file of its first part
    <folder>/sandbox.json    {"slow_seconds": 0.5, "fail": ["add_user"]}; may be edited while the agent runs

The file of a kind holds every change that was really made, and the value in a thing's last line is the thing: null
when it is gone. One change is one write at the end of the file, so a thing and its record cannot disagree, whenever the
process is killed. A change that would change nothing is not made and not recorded, so the record proves how often each
effect happened. One process writes a kind, which the agent's ledger sees to; lines that others append are read when
they are there. Nothing is synced to the disk: a sandbox survives its process, not its machine.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from openportal.errors import InvalidJob, RunError, Unavailable
from openportal.grammar.declaration import Instruction
from openportal.templemeads.handlers import Handler, Run

SETTINGS_FILE = "sandbox.json"
SETTINGS_MAX_BYTES = 64 * 1024
SETTINGS_EVERY_SECONDS = 1.0
SLOW_MAX_SECONDS = 600.0
NAME_MAX_CHARACTERS = 200
LINE_MAX_BYTES = 16 * 1024
JOURNAL_MAX_BYTES = 4 * 1024 * 1024 * 1024
READ_BYTES = 1024 * 1024
FILE_MODE = 0o600
OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
SUFFIX = ".jsonl"

Value = dict[str, Any]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a file."""

    at: float
    action: str
    thing: str
    value: Value | None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Change).decode


@dataclass(frozen=True, slots=True)
class Effect:
    """A change that was made; `seconds` is the time of day since 1970."""

    seconds: float
    action: str
    target: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How the sandbox misbehaves on purpose."""

    slow_seconds: float = 0.0
    fail: frozenset[str] = frozenset()


class Journal:
    """The file of one kind, and what it says."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, OPEN, FILE_MODE)
        self._read_bytes = 0
        self._values: dict[str, dict[str, Value]] = {}  # kind -> name -> value

    def close(self) -> None:
        os.close(self._descriptor)

    def kind(self, kind: str) -> dict[str, Value]:
        """The things of a kind that are there."""
        if os.fstat(self._descriptor).st_size != self._read_bytes:
            self._catch_up()
        return self._values.get(kind, {})

    def append(self, change: Change) -> None:
        """Make a change. Raises RunError if there is no room for it."""
        line = _encode(change) + b"\n"
        if len(line) > LINE_MAX_BYTES:
            raise RunError(f"{change.thing} is too big for the sandbox: more than {LINE_MAX_BYTES} bytes.")
        if self._read_bytes + len(line) > JOURNAL_MAX_BYTES:
            raise RunError(f"{self._path} is full; move it away.")
        os.write(self._descriptor, line)
        self._read_bytes += len(line)
        self._apply(change)

    def changes(self) -> list[Change]:
        """Every change, oldest first."""
        return [self._parse(line) for line in self._path.read_bytes().splitlines()]

    def _catch_up(self) -> None:
        """Read what is in the file beyond what we know; a file that shrank is read anew."""
        size = os.fstat(self._descriptor).st_size
        if size < self._read_bytes:
            self._values, self._read_bytes = {}, 0
        while self._read_bytes < size:
            data = os.pread(self._descriptor, READ_BYTES, self._read_bytes)
            whole = data[: data.rfind(b"\n") + 1]
            if not whole:
                raise RunError(f"{self._path} ends in the middle of a line; take that line away.")
            for line in whole.splitlines():
                self._apply(self._parse(line))
            self._read_bytes += len(whole)

    def _apply(self, change: Change) -> None:
        kind, _, name = change.thing.rpartition("/")
        things = self._values.setdefault(kind, {})
        if change.value is None:
            things.pop(name, None)
        else:
            things[name] = change.value

    def _parse(self, line: bytes) -> Change:
        try:
            return _decode(line)
        except msgspec.DecodeError as error:
            raise RunError(f"{self._path} is not a file of the sandbox ({error}); mend it or move it away.") from error


class SandboxStore:
    """The folder. `wall` tells the time of day, `clock` the seconds since any moment."""

    def __init__(
        self, folder: Path | str, wall: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = Path(folder).absolute()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._wall = wall
        self._clock = clock
        self._settings = Settings()
        self._read_again = float("-inf")
        self._journals: dict[str, Journal] = {}

    def close(self) -> None:
        """Let go of the files; they are opened again when needed."""
        while self._journals:
            self._journals.popitem()[1].close()

    def get(self, kind: str, name: str) -> Value | None:
        """The value of a thing; None when it was never there or is gone."""
        check_thing(kind, name)
        return self._journal(kind).kind(kind).get(name)

    def put(self, kind: str, name: str, value: Value | None, action: str) -> bool:
        """Make a thing be so (None: be gone); False when it was so before and nothing was changed."""
        if self.get(kind, name) == value:
            return False
        self._journal(kind).append(Change(self._wall(), action, f"{kind}/{name}", value))
        return True

    def names(self, kind: str) -> list[str]:
        """The names of the things of a kind that are there, sorted."""
        return sorted(self._journal(kind).kind(kind))

    def effects(self) -> list[Effect]:
        """Every change that was made, oldest first; the target is `<kind>/<name>`."""
        changes = [
            change
            for path in sorted(self.folder.glob(f"*{SUFFIX}"))
            for change in self._journal(path.name.removesuffix(SUFFIX)).changes()
        ]
        return sorted((Effect(c.at, c.action, c.thing) for c in changes), key=lambda effect: effect.seconds)

    def _journal(self, kind: str) -> Journal:
        top = kind.partition("/")[0]
        journal = self._journals.get(top)
        if journal is None:
            check_thing(top, top)
            journal = self._journals[top] = Journal(self.folder / f"{top}{SUFFIX}")
        return journal

    def settings(self) -> Settings:
        """What sandbox.json says, read at most once a second. Raises Unavailable when it cannot be understood."""
        now = self._clock()
        if now >= self._read_again:
            self._settings = self._read_settings()
            self._read_again = now + SETTINGS_EVERY_SECONDS
        return self._settings

    def tuned(self, handlers: Mapping[type[Instruction], Callable[..., object]]) -> Mapping[type[Instruction], Handler]:
        """The handlers, slow or failing as the settings say."""
        return {kind: self._tuned(kind.verb, handler) for kind, handler in handlers.items()}

    def _tuned(self, verb: str, handler: Handler) -> Handler:
        async def later(run: Run, instruction: Any, settings: Settings) -> object:
            await asyncio.sleep(settings.slow_seconds)
            _fail_on_purpose(verb, settings)
            result = handler(run, instruction)
            return await result if inspect.isawaitable(result) else result

        async def change(run: Run, instruction: Any) -> object:
            settings = self.settings()
            if settings.slow_seconds:
                return await later(run, instruction, settings)
            _fail_on_purpose(verb, settings)
            return await cast("Awaitable[object]", handler(run, instruction))

        def look(run: Run, instruction: Any) -> object:
            settings = self.settings()
            if settings.slow_seconds:
                return later(run, instruction, settings)
            _fail_on_purpose(verb, settings)
            return handler(run, instruction)

        return change if inspect.iscoroutinefunction(handler) else look

    def _read_settings(self) -> Settings:
        try:
            with (self.folder / SETTINGS_FILE).open("rb") as file:
                found = msgspec.json.decode(file.read(SETTINGS_MAX_BYTES))
            slow, fail = float(found.get("slow_seconds", 0)), found.get("fail", [])
            if not 0 <= slow <= SLOW_MAX_SECONDS or not isinstance(fail, list):
                raise ValueError("out of range")
            return Settings(slow, frozenset(map(str, fail)))
        except FileNotFoundError:
            return Settings()
        except (ValueError, TypeError, AttributeError) as error:
            hint = f'it looks like {{"slow_seconds": 0.5, "fail": ["add_user"]}}, at most {SLOW_MAX_SECONDS:.0f} s'
            raise Unavailable(f"{self.folder}/{SETTINGS_FILE} cannot be understood: {hint}.") from error


def check_thing(kind: str, name: str) -> None:
    """Names come from identifiers; this only makes sure that none is odd. Raises InvalidJob."""
    parts = (*kind.split("/"), name)
    if any(not part or part.startswith(".") or "/" in part or "\0" in part or "\n" in part for part in parts):
        raise InvalidJob(f"{kind}/{name} cannot be the name of a thing of the sandbox.")
    if len(name) > NAME_MAX_CHARACTERS:
        raise InvalidJob(f"{name[:NAME_MAX_CHARACTERS]}… is too long for the name of a thing of the sandbox.")


def _fail_on_purpose(verb: str, settings: Settings) -> None:
    if verb in settings.fail:
        raise RunError(f"The sandbox was told to fail {verb}; see {SETTINGS_FILE}.")
