"""`openportal topology`, `bundle` and `site`: the commands that a rollout runs, on the controller and on the hosts.

Those of `site` read one JSON object from standard input and print one, so that nothing they are told stands in a
process list; what each needs and gives is in `site`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from openportal.cli import drawing
from openportal.cli.bundle import make_bundle
from openportal.cli.probe import try_jobs
from openportal.cli.readiness import fetch_metrics, wait_ready
from openportal.cli.settings import Word
from openportal.cli.site import Host
from openportal.cli.topology import Topology
from openportal.errors import ConfigError
from openportal.paddington.files import FILE_BYTES_MAX

FOLDER = Path("/etc/openportal")
BOX = Path("/run/openportal/box")
READY_SECONDS = 30.0
OLD_KEY_LIFE = timedelta(days=1)
EXIT_NOT_READY = 1
SITE_WORDS = ("openportal_agents", "openportal_monitor")  # what an inventory says of the site as a whole
PATH = click.Path(path_type=Path)


# --- on the controller ------------------------------------------------------------------------------------------------


@click.command(cls=Word)
@click.argument("inventory", type=click.Path(path_type=Path, exists=True))
@click.option("--svg", type=PATH, metavar="FILE", help="Write the drawing to this file, as SVG.")
def topology(inventory: Path, svg: Path | None) -> None:
    """Check who is whose peer in an Ansible inventory, and draw it."""
    found = of_inventory(read_inventory(inventory))
    if svg is None:
        click.echo(drawing.text(found))
    else:
        svg.write_text(drawing.svg(found))
        click.echo(f"The drawing is {svg}.")


@click.command(cls=Word)
@click.argument("source")
@click.option("--extras", default="agents", show_default=True, help="Extras of the package, with commas between.")
@click.option("--to", type=PATH, default=Path("dist"), show_default=True, help="The folder that it is written into.")
@click.option("--python", "pythons", multiple=True, metavar="VERSION", help="A version of Python that hosts have, too.")
def bundle(source: str, extras: str, to: Path, pythons: tuple[str, ...]) -> None:
    """Pack a release with all that it needs into one file. SOURCE is a source tree, a wheel or a requirement of pip."""
    click.echo(make_bundle(source, [extra for extra in extras.split(",") if extra], to, pythons))


def read_inventory(inventory: Path) -> Mapping[str, Any]:
    """An inventory as Ansible reads it: the variables of every host. Raises ConfigError."""
    program = Path(sys.executable).with_name("ansible-inventory")
    command = [str(program) if program.exists() else "ansible-inventory", "-i", str(inventory), "--list"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigError("ansible-inventory is not installed: install openportal-agents[rollout].") from None
    if done.returncode != 0:
        raise ConfigError(f"{inventory} is not an inventory: {done.stderr.strip()[-1000:]}")
    variables: Mapping[str, Any] = json.loads(done.stdout)["_meta"]["hostvars"]
    return variables


def of_inventory(hosts: Mapping[str, Mapping[str, Any]]) -> Topology:
    """The topology of an inventory's hosts. Raises ConfigError with every mistake, and the drawing of what it says."""
    said = {word: words[word] for words in hosts.values() for word in SITE_WORDS if words.get(word)}
    addresses = {name: address_of(name, words) for name, words in hosts.items()}
    return Topology.declared(said.get("openportal_agents", {}), addresses, said.get("openportal_monitor"))


def address_of(name: str, variables: Mapping[str, Any]) -> str:
    """The address at which the other hosts reach one."""
    return str(variables.get("openportal_address") or variables.get("ansible_host") or name)


# --- on a host --------------------------------------------------------------------------------------------------------


@click.group()
def site() -> None:
    """What a rollout does on a host; each reads a JSON object from standard input."""


IN_FOLDER = click.option("--folder", type=PATH, default=FOLDER, show_default=True, help="Where the agents' files are.")
WITH_BOX = click.option("--box", type=PATH, default=BOX, show_default=True, help="The private key that opens invites.")


@site.command(cls=Word)
@IN_FOLDER
@WITH_BOX
@click.option("--check", is_flag=True, help="Change nothing, tell what would change.")
def configure(folder: Path, box: Path, check: bool) -> None:
    """Make the agents' files what the plan says, and look at their keys."""
    host = Host(folder, read_json(), box)
    changed = host.configure(check)
    if not check:
        host.open_box()
    answer({"changed": changed, "look": host.look()})


@site.command(cls=Word)
@IN_FOLDER
@WITH_BOX
def invite(folder: Path, box: Path) -> None:
    """Make keys for pairs in which an agent of this host listens, and seal their invites for the other host."""
    told = read_json()
    answer({"changed": True, "sealed": Host(folder, told["plan"], box).invite(told["wanted"])})


@site.command(cls=Word)
@IN_FOLDER
@WITH_BOX
def accept(folder: Path, box: Path) -> None:
    """Take the keys of invites that were sealed for this host."""
    told = read_json()
    answer({"changed": Host(folder, told["plan"], box).accept(told["sealed"])})


@site.command(cls=Word)
@IN_FOLDER
def rotate(folder: Path) -> None:
    """A new key for each bridge of this host; the one it has is good for another day."""
    host = Host(folder, read_json(), BOX)
    answer({"changed": host.rotate_bridges(datetime.now(UTC).replace(microsecond=0) + OLD_KEY_LIFE)})


@site.command(cls=Word)
@click.option("--seconds", type=float, default=READY_SECONDS, show_default=True, help="How long to wait.")
def ready(seconds: float) -> None:
    """Wait until the agents of this host run and are linked with all their peers; exit code 1 if they are not."""
    found = wait_ready(read_json(), seconds, fetch_metrics)
    answer({"changed": False, **found})
    sys.exit(EXIT_NOT_READY if found["waiting"] else 0)


@site.command("try", cls=Word)
@IN_FOLDER
@click.option("--seconds", type=float, default=READY_SECONDS, show_default=True, help="How long each job may take.")
def try_(folder: Path, seconds: float) -> None:
    """Send a job that changes nothing from each bridge of this host to every instance; exit code 1 if one fails."""
    jobs = try_jobs(read_json(), folder, seconds)
    waiting = [f"{job['path']}: {job['failed']}." for job in jobs if job["failed"]]
    answer({"changed": False, "jobs": jobs, "waiting": waiting})
    sys.exit(EXIT_NOT_READY if waiting else 0)


def read_json() -> Any:
    """The one object on standard input. Raises ConfigError."""
    text = sys.stdin.read(FILE_BYTES_MAX)
    try:
        return json.loads(text)
    except ValueError:
        raise ConfigError("Standard input must hold one JSON object; this command is run by the rollout.") from None


def answer(found: Mapping[str, Any]) -> None:
    click.echo(json.dumps(found))
