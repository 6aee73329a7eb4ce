"""What an agent is brought back from: one sealed file with its ledger, its configuration and what opens its secrets.

    about.json        whose it is, which release wrote it, when, and how far its ledger had come
    agent.toml        the agent's file, with the keys that it shares with its peers
    agent.password    what opens the secrets in it; only if it has some
    ledger.sqlite     its ledger, as one commit left it, walked through before it was packed

The file is sealed for a public key whose private half only the operator has (see sealedfile). It holds keys of links
and what persons are named by, and it is meant to lie elsewhere for weeks: on a controller, which is never to hold a key
of a link, on a file server, on tape. So nobody who comes upon it can read it, and to be careful with it is not enough
to protect it. To restore, the operator's machine seals the key of this one file for the host; the private key stays.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import tomlkit
from nacl.public import PrivateKey, PublicKey

from openportal.cli.compose import ledger_settings
from openportal.cli.sealedfile import Opening, Sealing, opened_key
from openportal.cli.site import HEADER, document, keys_of
from openportal.errors import ConfigError, SecretError
from openportal.paddington.config import load, parse, parse_toml
from openportal.paddington.files import read_text, write_private
from openportal.templemeads import ledger
from openportal.templemeads.ledger import Settings

ABOUT, FILE, PASSWORD, LEDGER = "about.json", "agent.toml", "agent.password", "ledger.sqlite"
MEMBERS = (ABOUT, FILE, PASSWORD, LEDGER)
ENDING = ".backup"
COPY_BYTES = 1024 * 1024
FILES_BYTES_MAX = 4 * 1024 * 1024  # of all but the ledger
PACKAGE = "openportal-agents"

Plan = Mapping[str, Any]


class About(msgspec.Struct, frozen=True):
    """What a backup says of itself."""

    agent: str
    release: str
    at: str
    ledger: str
    """The id of the ledger."""
    generation: int
    events: int
    head: str


class _Readable(Protocol):
    def read(self, size: int) -> bytes: ...


# --- make one ---------------------------------------------------------------------------------------------------------


def back_up(name: str, folder: Path, to: Path, recipient: PublicKey, at: datetime) -> dict[str, Any]:
    """Pack the agent `name`, whose file is in `folder`, into a new file in `to`, whose owner gets it.

    Returns what the backup says of itself, and `file`. Raises OpenPortalError; nothing is left behind then.
    """
    config = load(folder / f"{name}.toml")
    file = to / f"{name}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}{ENDING}"
    with tempfile.TemporaryDirectory(dir=to) as scratch:
        copy = Path(scratch) / LEDGER
        report = ledger.backup(ledger_settings(config), copy)
        with ledger.open_reader(Settings(path=copy)) as reader:
            meta = reader.meta
        moment = at.astimezone(UTC).isoformat(timespec="seconds")
        about = About(name, version(PACKAGE), moment, meta.ledger_id, meta.generation, report.events, report.head)
        sealed = Path(scratch) / file.name
        with sealed.open("xb") as out, Sealing(out, recipient) as sealing:
            pack(sealing, about, folder, copy)
        owner = to.stat()
        os.chown(sealed, owner.st_uid, owner.st_gid)
        sealed.rename(file)
    return {**msgspec.to_builtins(about), "name": name, "file": str(file)}


def pack(sealing: Sealing, about: About, folder: Path, copy: Path) -> None:
    """Write the members; the small ones first, so that they are read first."""
    password = folder / f"{about.agent}.password"
    with tarfile.open(fileobj=cast(Any, sealing), mode="w|") as tar:
        _add(tar, ABOUT, msgspec.json.encode(about))
        _add(tar, FILE, read_text(folder / f"{about.agent}.toml").encode())
        if password.exists():
            _add(tar, PASSWORD, read_text(password).encode())
        tar.add(copy, LEDGER)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    tar.addfile(member, io.BytesIO(data))


# --- go back to one ---------------------------------------------------------------------------------------------------


def restore(
    agent: Plan, file: Path, box: PrivateKey, sealed_key: str, folder: Path, other: bool = False
) -> dict[str, Any]:
    """Bring an agent of the plan back from its backup, of which we were given the key, sealed into our box.

    The ledger gets a new generation, and what was there is moved aside. The agent's file and its password are put back
    where there are none; those that are here are newer. Returns what the backup says of itself, `generation`, and
    `aside`. Raises OpenPortalError, LedgerLocked if the agent runs; nothing was changed then.
    """
    name = agent["name"]
    settings = wanted_ledger(agent, folder)
    home = folder if settings.path is None else settings.path.parent
    with unpacked(file, opened_key(bytes.fromhex(sealed_key), box, file), _prepared(home)) as found:
        about = msgspec.json.decode((found / ABOUT).read_bytes(), type=About)
        if about.agent != name:
            raise ConfigError(f"{file} is a backup of {about.agent}, and {name} is to be restored.")
        generation, aside = ledger.restore(settings, found / LEDGER, other)
        for member, place in ((FILE, folder / f"{name}.toml"), (PASSWORD, folder / f"{name}.password")):
            if (found / member).exists() and not place.exists():
                write_private(place, (found / member).read_bytes())
    if settings.path is not None:
        give_to_owner(home)
    shown = {"generation": generation, "aside": None if aside is None else str(aside)}
    return {"name": name, **msgspec.to_builtins(about), **shown}


def wanted_ledger(agent: Plan, folder: Path) -> Settings:
    """Where the plan says that the agent's ledger is."""
    path = folder / f"{agent['name']}.toml"
    held = parse_toml(read_text(path), path) if path.exists() else {}
    return ledger_settings(parse(HEADER + tomlkit.dumps(document(agent, held, keys_of(agent["name"], held))), path))


def _prepared(home: Path) -> Path:
    """The agent's own folder; systemd gives a new one to the agent's user when it starts it."""
    if home.is_symlink():
        raise ConfigError(f"{home} is a symbolic link; name the folder itself.")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


@contextmanager
def unpacked(file: Path, key: bytes, near: Path) -> Iterator[Path]:
    """A folder with the members of a backup, all of them and to the last byte, for as long as the block runs."""
    with tempfile.TemporaryDirectory(dir=near) as scratch, file.open("rb") as sealed:
        opening = Opening(sealed, key, file)
        try:
            with tarfile.open(fileobj=cast(Any, opening), mode="r|") as tar:
                for member in tar:
                    _extract(tar, member, Path(scratch))
        except tarfile.TarError as error:
            raise SecretError(f"{file} does not hold a backup: {error}") from None
        opening.finish()
        yield Path(scratch)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    content = tar.extractfile(member)
    too_large = member.name != LEDGER and member.size > FILES_BYTES_MAX
    if member.name not in MEMBERS or content is None or too_large:
        raise SecretError(f"The backup holds {member.name[:60]!r}, which does not belong there.")
    with (folder / member.name).open("xb") as out:
        shutil.copyfileobj(content, out, COPY_BYTES)


def give_to_owner(home: Path) -> None:
    """What root has put below a folder belongs to whom the folder belongs to."""
    owner = home.stat()
    for place in home.rglob("*"):
        os.chown(place, owner.st_uid, owner.st_gid, follow_symlinks=False)
