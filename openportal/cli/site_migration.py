"""Of `openportal site`, what takes agents over from today's Rust programs and hands them back; see `migration`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from openportal.cli.migration import differences, hand_back, read_old, take_over
from openportal.cli.rollout import IN_FOLDER, answer, read_json
from openportal.cli.settings import Word
from openportal.errors import ConfigError

EXIT_DIFFERENT = 1


@click.command("take-over", cls=Word)
@IN_FOLDER
@click.option("--look", is_flag=True, help="Change nothing; exit code 1 if the topology says otherwise than a file.")
def take_over_(folder: Path, look: bool) -> None:
    """Write the files of agents with the keys that they have in files of today's programs."""
    told = read_json()
    agents = {agent["name"]: agent for agent in told["plan"]["agents"]}
    if unknown := sorted(set(told["from"]) - set(agents)):
        raise ConfigError(f"The topology puts no agent {unknown[0]!r} on this host.")
    old = {name: read_old(Path(file)) for name, file in told["from"].items()}
    if look:
        secrets = told.get("secrets") or {}
        waiting = [words for name in old for words in differences(agents[name], old[name], secrets.get(name, {}))]
        answer({"changed": False, "waiting": waiting})
        sys.exit(EXIT_DIFFERENT if waiting else 0)
    answer({"changed": [name for name in old if take_over(agents[name], old[name], folder)]})


@click.command("hand-back", cls=Word)
@IN_FOLDER
def hand_back_(folder: Path) -> None:
    """Put the keys that agents have now into the files of today's programs, of which nothing else is changed."""
    told = read_json()
    answer({"changed": [name for name, file in told["from"].items() if hand_back(name, folder, Path(file))]})


COMMANDS = (take_over_, hand_back_)
