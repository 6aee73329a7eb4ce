"""The Slurm behind an agent: by its commands or by slurmrestd, as its file says; limits from its own ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from openportal.agents.scheduler.slurm.commands import Commands
from openportal.agents.scheduler.slurm.rest import Rest
from openportal.agents.scheduler.slurm.settings import NODE_EXAMPLE, Settings
from openportal.cli.oneshot import run_once
from openportal.cli.scheduler import limits_of, made_by, slurm_by, slurm_for_now
from openportal.errors import ConfigError, LedgerError
from openportal.paddington import config
from openportal.paddington.config import AgentConfig

NODE = {"slurm-default-node": NODE_EXAMPLE}
SERVER = {**NODE, "slurm-server": "unix:/run/slurmrestd/socket"}
MAPPING = "demo.brics:brics.demo"


def scheduler(folder: Path, extras: Mapping[str, str]) -> AgentConfig:
    """The file of a scheduler agent."""
    service = '[service]\nname = "slurm"\nurl = "ws://x:1"\nip = "::1"\nport = 8048\n'
    found = config.parse(f'agent = "Scheduler"\n{service}', folder / "slurm.toml")
    return dataclasses.replace(found, extras=extras)


async def test_slurm_is_reached_as_the_file_says() -> None:
    commands = Commands(Settings.of(NODE))
    assert slurm_by(Settings.of(NODE), commands) is commands
    for token in ({"token-key": "/etc/slurm/jwt.key"}, {"token-command": "scontrol token"}):
        async with slurm_for_now(Settings.of({**SERVER, **token}), commands) as slurm:
            assert isinstance(slurm, Rest)


@pytest.mark.parametrize(
    "tokens", [{}, {"token-key": "/etc/slurm/jwt.key", "token-command": "scontrol token"}], ids=["none", "both"]
)
def test_slurmrestd_needs_one_way_to_a_token(tokens: dict[str, str]) -> None:
    settings = Settings.of({**SERVER, **tokens})
    with pytest.raises(ConfigError, match="one of token-command and token-key"):
        slurm_by(settings, Commands(settings))


async def test_limits_of_earlier_lives_are_in_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever system carried them out: here, a sandbox."""
    agent = scheduler(tmp_path, {"sandbox": str(tmp_path / "sandbox")})
    with pytest.raises(LedgerError, match="there is no ledger"):
        limits_of(agent)
    told = [f"add_local_project {MAPPING}", f"set_local_limit {MAPPING} 10", f"set_local_limit {MAPPING} 2 hours"]
    await run_once(agent, "op-slurm", told, "shared", "default")
    capsys.readouterr()
    assert [(str(mapping), seconds) for mapping, seconds in limits_of(agent)] == [(MAPPING, 7200)]
    assert [str(mapping) for mapping in made_by(agent).projects] == [MAPPING]
