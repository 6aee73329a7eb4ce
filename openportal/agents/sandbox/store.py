"""A sandbox of a system: what an agent made, as small files in a folder, for training, demonstrations and tests.

    <folder>/<kind>/<name>.jsonl    {"at": <seconds>, "action": "create user", "value": {…}}     one line per change
    <folder>/sandbox.json           {"slow_seconds": 0.5, "fail": ["add_user"]}     may be edited while the agent runs

The file of a thing holds every change that was really made to it, and the value of its last line is the thing: null
when it is gone. One change is one write at the end of the file, so a thing and its record cannot disagree, whenever the
process is killed. A change that would change nothing is not made and not
recorded, so the record proves how often each effect happened. Only one process may write a folder, which the agent's
ledger sees to. Nothing is synced to the disk: a sandbox survives its process, not its machine.
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
THING_MAX_BYTES = 16 * 1024 * 1024
FILE_MODE = 0o600
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
SUFFIX = ".jsonl"

Value = dict[str, Any]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a file."""

    at: float
    action: str
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

    def get(self, kind: str, name: str) -> Value | None:
        """The value of a thing; None when it was never there or is gone."""
        path = self._path(kind, name)
        return self._value(path)

    def put(self, kind: str, name: str, value: Value | None, action: str) -> bool:
        """Make a thing be so (None: be gone); False when it was so before and nothing was changed."""
        path = self._path(kind, name)
        if self._value(path) == value:
            return False
        line = _encode(Change(self._wall(), action, value)) + b"\n"
        if len(line) > LINE_MAX_BYTES:
            raise RunError(f"{kind}/{name} is too big for the sandbox: more than {LINE_MAX_BYTES} bytes.")
        self._append(path, line)
        return True

    def names(self, kind: str) -> list[str]:
        """The names of the things of a kind that are there, sorted."""
        try:
            files = [path.name for path in (self.folder / kind).iterdir()]
        except FileNotFoundError:
            return []
        names = sorted(file.removesuffix(SUFFIX) for file in files if _is_thing(file))
        return [name for name in names if self.get(kind, name) is not None]

    def effects(self) -> list[Effect]:
        """Every change that was made, oldest first; the target is `<kind>/<name>`."""
        found = []
        for path in self.folder.rglob(f"*{SUFFIX}"):
            if _is_thing(path.name) and path.parent != self.folder:
                target = path.relative_to(self.folder).as_posix().removesuffix(SUFFIX)
                found += [Effect(change.at, change.action, target) for change in self._changes(str(path))]
        return sorted(found, key=lambda effect: effect.seconds)

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

    def _path(self, kind: str, name: str) -> str:
        """Names come from identifiers; this only makes sure that none ever leaves the folder."""
        parts = (*kind.split("/"), name)
        if any(not part or part.startswith(".") or "/" in part or "\0" in part for part in parts):
            raise InvalidJob(f"{kind}/{name} cannot be the name of a file of the sandbox.")
        if len(name) > NAME_MAX_CHARACTERS:
            raise InvalidJob(f"{name[:NAME_MAX_CHARACTERS]}… is too long for the name of a file of the sandbox.")
        return f"{self.folder}/{kind}/{name}{SUFFIX}"

    def _value(self, path: str) -> Value | None:
        lines = self._read(path, LINE_MAX_BYTES)
        return self._parse(path, lines[lines.rfind(b"\n", 0, -1) + 1 :]).value if lines else None

    def _changes(self, path: str) -> list[Change]:
        return [self._parse(path, line) for line in self._read(path, THING_MAX_BYTES).splitlines()]

    def _read(self, path: str, last_bytes: int) -> bytes:
        """The end of a file."""
        try:
            descriptor = os.open(path, READ)
        except FileNotFoundError:
            return b""
        try:
            size = os.fstat(descriptor).st_size
            data = os.pread(descriptor, last_bytes, max(0, size - last_bytes))
        finally:
            os.close(descriptor)
        if size > THING_MAX_BYTES:
            raise RunError(f"{path} is full; take its older lines away.")
        if data and not data.endswith(b"\n"):
            raise RunError(f"{path} ends in the middle of a line; take that line away.")
        return data

    def _parse(self, path: str, line: bytes) -> Change:
        try:
            return _decode(line)
        except msgspec.DecodeError as error:
            raise RunError(f"{path} is not a file of the sandbox ({error}); mend it or move it away.") from error

    def _append(self, path: str, line: bytes) -> None:
        try:
            descriptor = os.open(path, APPEND, FILE_MODE)
        except FileNotFoundError:
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, APPEND, FILE_MODE)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

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


def _is_thing(file: str) -> bool:
    return file.endswith(SUFFIX) and not file.startswith(".")


def _fail_on_purpose(verb: str, settings: Settings) -> None:
    if verb in settings.fail:
        raise RunError(f"The sandbox was told to fail {verb}; see {SETTINGS_FILE}.")
