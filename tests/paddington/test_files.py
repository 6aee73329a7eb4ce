"""Files with keys: one step, 0600, bounded."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.errors import ConfigError
from openportal.paddington import files
from openportal.paddington.files import exclusive, read_text, write_private


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.toml"
    write_private(path, b"x = 1\n")
    assert (path.read_bytes(), mode(path), mode(path.parent)) == (b"x = 1\n", 0o600, 0o700)


def test_an_open_file_is_closed_to_others_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.toml"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="no space left"):
        write_private(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(ConfigError, match="symbolic link"):
        write_private(link, b"key")
    assert not target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_agents_file_stays_the_agents_when_root_edits_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    write_private(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (12345, 23456, 0o600)


@pytest.mark.parametrize("name", ["no/such/folder/a", "nul\0", "x" * 300])
def test_what_cannot_be_read_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"does not exist|cannot be read"):
        read_text(tmp_path / name)


@pytest.mark.parametrize("name", ["nul\0", "x" * 300])
def test_what_cannot_be_written_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_private(tmp_path / name, b"")


def test_reading_is_bounded_and_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_text(path)
    monkeypatch.setattr(files, "FILE_BYTES_MAX", 8)
    path.write_bytes(b"12345678")
    assert read_text(path) == "12345678"
    path.write_bytes(b"123456789")
    with pytest.raises(ConfigError, match="larger than 8 bytes"):
        read_text(path)


def test_one_change_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with exclusive(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with exclusive(tmp_path):
        thread.start()
        assert waiting.wait(5)
        thread.join(0.05)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    with pytest.raises(ConfigError, match="cannot be opened"), exclusive(tmp_path / "none"):
        pass
