"""The environment of the published client: where it is, and when it is built."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from openportal.cli import published
from openportal.cli.published import STAMP, cache_folder, client_python
from openportal.errors import ConfigError

VERSION = "0.94.0"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "openportal"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would have been run; an environment is no more than its interpreter."""
    found: list[list[str]] = []

    def run(command: list[Any], check: bool) -> None:
        found.append([str(word) for word in command])
        if "venv" in found[-1]:
            python = Path(found[-1][-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()

    monkeypatch.setattr(published.subprocess, "run", run)
    return found


def test_the_folder_is_where_caches_are(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/openportal")


def test_it_is_built_once(cache: Path, commands: list[list[str]]) -> None:
    python = client_python(VERSION)
    assert python == cache / f"client-{VERSION}" / "bin" / "python"
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]]
    assert commands[1][0] == str(python)
    assert commands[1][-1] == f"openportal=={VERSION}"
    assert client_python(VERSION) == python
    assert len(commands) == 2


def test_each_version_has_its_own(commands: list[list[str]]) -> None:
    assert len({client_python(version) for version in published.VERSIONS}) == len(published.VERSIONS)
    assert len(commands) == 2 * len(published.VERSIONS)


def test_one_that_was_not_finished_is_built_anew(cache: Path, commands: list[list[str]]) -> None:
    rest = cache / f"client-{VERSION}" / "rest"
    rest.mkdir(parents=True)
    client_python(VERSION)
    assert not rest.exists()
    assert len(commands) == 2


def test_one_whose_interpreter_is_gone_is_built_anew(commands: list[list[str]]) -> None:
    python = client_python(VERSION)
    python.unlink()
    python.symlink_to("/nowhere/python3.10")
    assert client_python(VERSION).is_file()
    assert len(commands) == 4


def test_a_failure_is_a_sentence_and_tried_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[Any], check: bool) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(published.subprocess, "run", fail)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"openportal 0\.94\.0 could not be installed in .*client-0\.94\.0$"):
            client_python(VERSION)
    assert not (cache / f"client-{VERSION}" / STAMP).exists()


def test_those_who_ask_at_once_wait_for_one_build(commands: list[list[str]]) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(client_python(VERSION))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(commands) == 2
