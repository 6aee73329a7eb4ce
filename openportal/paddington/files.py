"""Files that hold keys: read with a limit, written in one step, readable by their owner only.

`write_private` never leaves a half-written file: the bytes go to a new file in the same folder, are forced to disk, and
then take the place of the old one. The folder is forced too, so that the new name survives a power cut.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openportal.errors import ConfigError

FILE_BYTES_MAX = 4 * 1024 * 1024
PRIVATE_MODE = 0o600
FOLDER_MODE = 0o700


def read_text(path: Path) -> str:
    """The UTF-8 text of a file of at most FILE_BYTES_MAX. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {_reason(error)}.") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {FILE_BYTES_MAX} bytes.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None


def write_private(path: Path, data: bytes) -> None:
    """Put `data` in the place of `path`, mode 0600, all or nothing. An existing file keeps its owner.

    A symbolic link is refused: whoever made it could choose where the keys go. Raises ConfigError.
    """
    try:
        if path.is_symlink():
            raise ConfigError(f"{path} is a symbolic link; name the file itself.")
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            _write_new(temporary, data, _owner(path))
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be written: {_reason(error)}.") from None


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """One change at a time in a folder: waits for the other process that is inside. Raises ConfigError."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} cannot be opened: {_reason(error)}.") from None
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return  # some network file systems have no locks; the write itself is still one step


def _write_new(path: Path, data: bytes, owner: tuple[int, int] | None) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_MODE)
    with os.fdopen(handle, "wb") as file:
        if owner is not None:
            os.fchown(handle, *owner)
        os.fchmod(handle, PRIVATE_MODE)
        file.write(data)
        file.flush()
        os.fsync(handle)


def _owner(path: Path) -> tuple[int, int] | None:
    """Whose the existing file is, when that is another than the one who writes (root editing an agent's file)."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return None if status.st_uid == os.geteuid() else (status.st_uid, status.st_gid)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or "the name is not one that files can have").lower()
