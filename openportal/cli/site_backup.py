"""`openportal backup-key`, and of `openportal site` what backs agents up and brings them back.

As the other commands of `site` they read one JSON object and print one. What they need and give is in `backups`; a
leaf's own command says whether its system is as its ledger tells.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from nacl.public import PrivateKey

from openportal.cli.backups import back_up, restore
from openportal.cli.rollout import IN_FOLDER, WITH_BOX, answer, read_json
from openportal.cli.sealedfile import make_private_key, public_key
from openportal.cli.settings import Word
from openportal.cli.site import PASSWORD_VARIABLE, Host
from openportal.errors import OpenPortalError
from openportal.paddington.files import read_text

RECONCILING = ("slurm", "freeipa")  # systems whose agents have a command `reconcile`
RECONCILE_SECONDS = 600
EXIT_DIFFERENT = 1
PATH = click.Path(path_type=Path)


@click.command("backup-key", cls=Word)
@click.argument("file", type=PATH)
def backup_key(file: Path) -> None:
    """Make the private key that opens backups, in a new FILE; prints its public half, which goes into the inventory."""
    click.echo(make_private_key(file))


@click.command(cls=Word)
@IN_FOLDER
@click.option("--to", type=PATH, required=True, help="A folder of nobody but whoever fetches the files.")
def backup(folder: Path, to: Path) -> None:
    """Pack every agent of this host into a file of its own, sealed for the recipient."""
    told = read_json()
    recipient, now = public_key(told["recipient"]), datetime.now(UTC)
    made, failed = [], []
    for agent in told["plan"]["agents"]:
        try:
            made.append(back_up(agent["name"], folder, to, recipient, now))
        except (OpenPortalError, OSError) as error:
            failed.append(f"{agent['name']}: {error}")
    answer({"changed": bool(made), "backups": made, "failed": failed})


@click.command(cls=Word)
@WITH_BOX
def box(box: Path) -> None:
    """Make the box into which keys of backups are sealed, if there is none, and print it."""
    host = Host(box.parent, {"agents": []}, box)
    host.open_box()
    answer({"changed": False, "box": host.look()["box"]})


@click.command("restore", cls=Word)
@IN_FOLDER
@WITH_BOX
def restore_(folder: Path, box: Path) -> None:
    """Bring agents of this host back from their backups; they must not run."""
    told = read_json()
    agents = {agent["name"]: agent for agent in told["plan"]["agents"]}
    private = PrivateKey(box.read_bytes())
    answer({"changed": True, "restored": [
        restore(agents[one["name"]], Path(one["file"]), private, one["key"], folder, told.get("other", False))
        for one in told["backups"]
    ]})  # fmt: skip


@click.command(cls=Word)
@IN_FOLDER
def reconcile(folder: Path) -> None:
    """Ask the leaves whether their systems are as their ledgers tell; exit code 1 if one is not, or cannot be asked."""
    looks = list(looked_at(read_json(), folder))
    waiting = [f"{look['name']}: {look['said']}" for look in looks if look["code"]]
    answer({"changed": False, "looks": looks, "waiting": waiting})
    sys.exit(EXIT_DIFFERENT if waiting else 0)


def looked_at(plan: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """What each leaf's `reconcile` says, which changes nothing; for those that have one."""
    for agent in plan["agents"]:
        if agent["system"] in RECONCILING:
            program = Path(sys.executable).with_name(agent["command"])
            words = [str(program), "-c", str(folder / f"{agent['name']}.toml"), "reconcile"]
            done = subprocess.run(
                words, env={**os.environ, **password_of(agent["name"], folder)}, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, check=False, timeout=RECONCILE_SECONDS,
            )  # fmt: skip
            yield {"name": agent["name"], "code": done.returncode, "said": (done.stdout + done.stderr).strip()}


def password_of(name: str, folder: Path) -> dict[str, str]:
    """The variable with what opens an agent's secrets, if it has some."""
    path = folder / f"{name}.password"
    return {PASSWORD_VARIABLE: read_text(path)} if path.exists() else {}


COMMANDS = (backup, box, restore_, reconcile)
