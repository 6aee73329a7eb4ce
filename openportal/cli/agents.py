"""The agents' commands: `op-portal`, `op-provider`, … each with the words of today's command lines."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from pathlib import Path
from typing import Any

import click
import uvloop

from openportal.cli.compose import INSTANCE_WITH_SCHEDULER, serve
from openportal.cli.oneshot import run_once
from openportal.cli.settings import Word, attach, config_path
from openportal.errors import ConfigError, OpenPortalError, SecretError
from openportal.paddington.config import DEFAULTS, AgentConfig, AgentDefaults, load
from openportal.templemeads.logs import configure

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2  # the unit of a rollout is not started again after it
GC_ALLOCATIONS, GC_SECOND, GC_THIRD = 50_000, 20, 20


def agent_group(defaults: AgentDefaults) -> click.Group:
    """The command of one kind of agent."""

    @click.group(name=defaults.command, help=f"The {defaults.agent.lower()} agent of OpenPortal.")
    @click.version_option(package_name="openportal-agents")
    def group() -> None:
        pass

    attach(group, defaults)
    group.add_command(_run_command(defaults))
    if defaults.command == INSTANCE_WITH_SCHEDULER:
        from openportal.cli.reconcile import reconcile  # loads what only a scheduler agent needs
        from openportal.cli.slurm_reports import get_requeue_report, get_reservation_report

        for command in (reconcile, get_requeue_report, get_reservation_report):
            group.add_command(command)
    if defaults.command == "op-freeipa":
        from openportal.cli.freeipa import adopt, reconcile  # an HTTP client that no other agent needs

        group.add_command(reconcile)
        group.add_command(adopt)
    return group


def _run_command(defaults: AgentDefaults) -> click.Command:
    @click.command(name="run", cls=Word, help="Run the agent.")
    @click.option("-o", "--one-shot", multiple=True, help="Carry out this instruction, print its result, and stop.")
    @click.option("-r", "--repeat", type=click.IntRange(1), default=1, help="How often to carry it out.")
    @click.option("-s", "--sender", default="oneshot", help="The peer that it is to come from.")
    @click.option("-z", "--zone", default="one-shot", help="The zone of that peer.")
    @click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
    @click.pass_context
    def run(ctx: click.Context, one_shot: tuple[str, ...], repeat: int, sender: str, zone: str, log_level: str) -> None:
        commands = [command for command in one_shot for _ in range(repeat)]
        try:
            config = _load(config_path(ctx), defaults)
            configure("error" if one_shot else log_level, sys.stderr)  # what fails is told at the end
            if commands:
                asyncio.run(run_once(config, defaults.command, commands, sender, zone))
            else:
                sys.exit(run_until_stopped(config, defaults.command))
        except (ConfigError, SecretError) as error:
            click.echo(f"{defaults.command}: {error}", err=True)
            sys.exit(EXIT_MISCONFIGURED)

    return run


def _load(path: Path, defaults: AgentDefaults) -> AgentConfig:
    if not path.exists():
        raise click.ClickException(
            f"{path} does not exist: make it with `{defaults.command} init`, or name one with -c."
        )
    config = load(path)
    if config.agent not in runs(defaults):
        raise ConfigError(
            f"{path} is the file of a {config.agent} agent, and {defaults.command} runs a {defaults.agent} agent."
        )
    return config


def runs(defaults: AgentDefaults) -> tuple[str, ...]:
    """The types of agents that a command runs."""
    return (defaults.agent, "Instance") if defaults.command == INSTANCE_WITH_SCHEDULER else (defaults.agent,)


def run_until_stopped(config: AgentConfig, command: str) -> int:
    """Run an agent in the foreground; the exit code says whether it ended in good order.

    Raises ConfigError and SecretError: what starting it again would not mend.
    """

    async def main() -> None:
        quiet_collector()
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await serve(config, command, stopping)

    try:
        uvloop.run(main())
    except (ConfigError, SecretError):
        raise
    except OpenPortalError as error:
        click.echo(f"{command}: {error}", err=True)
        return EXIT_FAILED
    return 0


def quiet_collector() -> None:
    """Jobs and events form no cycles: the collector need not walk what lives long, nor look after every few hundred."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, GC_SECOND, GC_THIRD)


def _main(service: str) -> Any:
    return agent_group(DEFAULTS[service])


def portal() -> None:
    _main("portal")()


def provider() -> None:
    _main("provider")()


def platform() -> None:
    _main("clusters")()


def instance() -> None:
    _main("cluster")()


def localaccount() -> None:
    _main("localaccount")()


def freeipa() -> None:
    _main("freeipa")()


def filesystem() -> None:
    _main("filesystem")()


def slurm() -> None:
    _main("slurm")()


def bridge() -> None:
    _main("bridge")()
