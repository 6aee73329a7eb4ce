from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openportal.agents.sandbox import store as module
from openportal.agents.sandbox.account import SandboxAccounts
from openportal.agents.sandbox.filesystem import SandboxFilesystem
from openportal.agents.sandbox.scheduler import SandboxScheduler
from openportal.agents.sandbox.store import Effect, SandboxStore, Settings
from openportal.errors import InvalidJob, RunError, Unavailable
from tests.agents.runs import answer


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> SandboxStore:
    return SandboxStore(tmp_path / "sandbox", wall=clock, clock=clock)


def test_a_thing_comes_and_goes(store: SandboxStore, clock: Clock) -> None:
    assert store.get("users", "a.b") is None and store.names("users") == []
    assert store.put("users", "a.b", {"x": 1}, "create") is True
    clock.now = 1.5
    assert store.put("users", "a.b", {"x": 1}, "create") is False
    assert store.put("users", "a.b", {"x": 2}, "change") is True
    assert store.get("users", "a.b") == {"x": 2} and store.names("users") == ["a.b"]
    clock.now = 2.0
    assert store.put("users", "a.b", None, "remove") is True
    assert store.put("users", "a.b", None, "remove") is False
    assert store.get("users", "a.b") is None and store.names("users") == []
    assert store.effects() == [
        Effect(0.0, "create", "users/a.b"),
        Effect(1.5, "change", "users/a.b"),
        Effect(2.0, "remove", "users/a.b"),
    ]


def test_another_process_finds_it(store: SandboxStore) -> None:
    again = SandboxStore(store.folder)
    assert again.get("users/p", "a") is None
    store.put("users/p", "a", {"x": 1}, "create")
    assert again.get("users/p", "a") == {"x": 1}
    assert again.put("users/p", "a", {"x": 1}, "create") is False
    assert again.effects() == store.effects()


@pytest.mark.parametrize("first", [True, False])
def test_killed_before_the_write(store: SandboxStore, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    if not first:
        store.put("users", "a", {"x": 1}, "create")
    before = store.get("users", "a"), store.effects(), store.names("users")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "write", killed)
        store.put("users", "a", {"x": 2}, "change")
    assert (store.get("users", "a"), store.effects(), store.names("users")) == before
    store.put("users", "a", {"x": 2}, "change")
    assert store.get("users", "a") == {"x": 2}
    assert [effect.action for effect in store.effects()][len(before[1]) :] == ["change"]


@pytest.mark.parametrize(
    ("kind", "name"), [("users", "../x"), ("users", ".x"), ("..", "x"), ("", "x"), ("u", ""), ("u", "a\0")]
)
def test_names_that_would_leave_the_folder(store: SandboxStore, kind: str, name: str) -> None:
    with pytest.raises(InvalidJob):
        store.put(kind, name, {}, "create")


def test_a_name_that_is_too_long(store: SandboxStore) -> None:
    with pytest.raises(InvalidJob, match="too long"):
        store.put("users", "a" * 300, {}, "create")


@pytest.mark.parametrize(
    "text",
    ["\n", "[]\n", "{}\n", '{"value": {}}\n', "junk\n", '{"at": 1, "action": "x", "thing": "u/a", "value": 3}\n'],
)
def test_a_file_that_is_no_thing(store: SandboxStore, text: str) -> None:
    store.put("users", "a", {"x": 1}, "create")
    with (store.folder / "users.jsonl").open("a") as file:
        file.write(text)
    with pytest.raises(RunError, match="is not a file of the sandbox"):
        store.get("users", "a")


def test_a_line_without_an_end(store: SandboxStore) -> None:
    store.put("users", "a", {"x": 1}, "create")
    with (store.folder / "users.jsonl").open("a") as file:
        file.write('{"at": 1, "act')
    with pytest.raises(RunError, match="in the middle of a line"):
        store.get("users", "a")


def test_limits(store: SandboxStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="too big"):
        store.put("users", "a", {"x": "x" * module.LINE_MAX_BYTES}, "create")
    assert store.effects() == []
    monkeypatch.setattr(module, "JOURNAL_MAX_BYTES", 300)
    with pytest.raises(RunError, match="is full"):
        for number in range(9):
            store.put("users", "a", {"x": number}, "change")


def test_a_long_record(store: SandboxStore) -> None:
    for number in range(1000):
        store.put("users", "a", {"x": number}, "change")
    assert store.get("users", "a") == {"x": 999}
    assert len(store.effects()) == 1000


KILLED = """
import sys
from openportal.agents.sandbox.store import SandboxStore
store = SandboxStore(sys.argv[1])
for number in range(int(sys.argv[2])):
    store.put("users", f"u{number}", {"x": 1}, "create")
    store.put("users", f"u{number}", {"x": 2}, "change")
    if number == 20:
        print("going", flush=True)
"""


@pytest.mark.parametrize("wait", [0.0, 0.002, 0.01])
def test_a_process_that_is_really_killed(tmp_path: Path, wait: float) -> None:
    """Run again over what it left, each change is recorded once and the things are as they should be."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), "3000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        process.kill()
    store = SandboxStore(tmp_path)
    for name in [f"u{number}" for number in range(100)]:
        if store.get("users", name) is None:
            store.put("users", name, {"x": 1}, "create")
        store.put("users", name, {"x": 2}, "change")
    made = [(effect.action, effect.target) for effect in store.effects() if len(effect.target) <= len("users/u99")]
    assert len(made) == len(set(made)) == 200


# --- sandbox.json -----------------------------------------------------------------------------------------------------


def test_settings_are_read_once_a_second(store: SandboxStore, clock: Clock) -> None:
    assert store.settings() == Settings()
    file = store.folder / "sandbox.json"
    file.write_text('{"slow_seconds": 2, "fail": ["add_user"]}')
    clock.now = 0.9
    assert store.settings() == Settings()
    clock.now = 1.0
    assert store.settings() == Settings(2.0, frozenset({"add_user"}))
    file.unlink()
    clock.now = 2.0
    assert store.settings() == Settings()
    assert store.effects() == []


@pytest.mark.parametrize(
    "text", ["junk", "[]", '{"slow_seconds": -1}', '{"slow_seconds": 1e9}', '{"fail": "add_user"}']
)
def test_settings_that_cannot_be_understood(store: SandboxStore, text: str) -> None:
    (store.folder / "sandbox.json").write_text(text)
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be understood"):
            store.settings()


async def test_failing_on_purpose(store: SandboxStore) -> None:
    (store.folder / "sandbox.json").write_text(json.dumps({"fail": ["add_user", "is_existing_user"]}))
    leaf = SandboxAccounts(store)
    for text in ("add_user a.b.c", "is_existing_user a.b.c"):
        with pytest.raises(RunError, match="told to fail"):
            await answer(leaf, text)
    assert await answer(leaf, "add_project b.c") == "b.c:c.b"
    assert [effect.action for effect in store.effects()] == ["create group"]


async def test_slow_on_purpose(tmp_path: Path) -> None:
    store = SandboxStore(tmp_path)
    (tmp_path / "sandbox.json").write_text('{"slow_seconds": 0.05, "fail": ["get_users"]}')
    leaf = SandboxAccounts(store)
    for text, expected in (("add_user a.b.c", "a.b.c:a.b:c.b"), ("is_existing_user a.b.c", True)):
        start = time.monotonic()
        assert await answer(leaf, text) == expected
        assert time.monotonic() - start >= 0.05
    with pytest.raises(RunError, match="told to fail"):
        await answer(leaf, "get_users b.c")


def test_looks_are_plain_functions_and_changes_are_not(store: SandboxStore) -> None:
    for leaf in (SandboxAccounts(store), SandboxFilesystem(store), SandboxScheduler(store)):
        for kind, handler in leaf.handlers().items():
            assert asyncio.iscoroutinefunction(handler) is kind.changes, kind.verb


# --- how fast ---------------------------------------------------------------------------------------------------------
