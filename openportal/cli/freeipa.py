"""`op-freeipa reconcile` and `op-freeipa adopt`: what an operator does with a realm beside the running agent.

Both look and print first, in the words of the `ipa` command; only `--apply` changes something, and prints each call and
what came of it. They may run while the agent does: each looks before it acts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from openportal.agents.account.freeipa.adopt import Adoption, parse_mappings
from openportal.agents.account.freeipa.directory import Directory
from openportal.agents.account.freeipa.plan import Step
from openportal.agents.account.freeipa.reconcile import Drift
from openportal.agents.account.freeipa.rpc import Credentials
from openportal.agents.account.freeipa.servers import Servers
from openportal.agents.account.freeipa.settings import Settings
from openportal.agents.account.freeipa.upkeep import Upkeep, one_instance
from openportal.cli.settings import Word, config_path
from openportal.errors import JobError
from openportal.paddington.config import AgentConfig, load
from openportal.paddington.secretstore import secret_of

T = TypeVar("T")
EXIT_LEFT = 1


class PrintedRun:
    """A run whose record is what is printed."""

    job_id = "00000000-0000-0000-0000-000000000000"

    def __init__(self, sender: str) -> None:
        self.sender = sender

    async def effect(self, action: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        click.echo(f"  {action}: {target} …")
        try:
            result = await call()
        except JobError as error:
            click.echo(f"  {action}: {target}: FAILED: {error}")
            raise
        click.echo(f"  {action}: {target}: done")
        return result

    def progress(self, text: str) -> None:
        click.echo(f"  {text}")

    async def ask(self, step: str, agent: str, instruction: str) -> object:
        raise JobError(f"nobody can be asked {instruction} here")


apply_option = click.option(
    "--apply/--dry-run", "apply", default=False, help="Do it, or only print what would be done.  [default: --dry-run]"
)
as_option = click.option("--as", "user", metavar="USER", help="Log in as this user, whose password is asked for.")


@click.command("reconcile", cls=Word, help="Find accounts that are not as the agent would have left them; repair them.")
@apply_option
@as_option
@click.pass_context
def reconcile(ctx: click.Context, /, apply: bool, user: str | None) -> None:
    config = load(config_path(ctx))

    async def work(upkeep: Upkeep) -> bool:
        found = await upkeep.find_drift(neighbours(config))
        click.echo(f"{len(found)} accounts are not as they should be.")
        return all([await _repair(upkeep, drift, apply) for drift in found])

    _run(ctx, config, user, work)


@click.command("adopt", cls=Word, help="Take users and groups that a site has already under management.")
@click.argument("mappings", type=click.Path(path_type=Path))
@click.option("--instance", metavar="PEER", help="For whom: `name@zone`.  [default: the agent's only neighbour]")
@apply_option
@as_option
@click.pass_context
def adopt(ctx: click.Context, /, mappings: Path, instance: str | None, apply: bool, user: str | None) -> None:
    config, lines = load(config_path(ctx)), parse_mappings(mappings.read_text())
    peer = instance or one_instance(neighbours(config))

    async def work(upkeep: Upkeep) -> bool:
        found = await upkeep.find_adoptions(lines, peer)
        return all([await _take(upkeep, adoption, apply) for adoption in found])

    _run(ctx, config, user, work)


def neighbours(config: AgentConfig) -> list[str]:
    """Those whose accounts the agent makes, as `name@zone`."""
    clients = [f"{client.name}@{client.zone}" for client in config.service.clients]
    return clients + [f"{server.name}@{server.zone}" for server in config.service.servers]


async def _repair(upkeep: Upkeep, drift: Drift, apply: bool) -> bool:
    click.echo(f"{drift.account}: {drift.words}" + ("" if drift.steps else " (a person must decide)"))
    done = await _carry_out(upkeep, drift.steps, apply)
    return apply and done and bool(drift.steps)


async def _take(upkeep: Upkeep, adoption: Adoption, apply: bool) -> bool:
    if adoption.refused:
        click.echo(f"{adoption.mapping}: not adopted: {adoption.refused}")
        return False
    click.echo(f"{adoption.mapping}: {'is adopted' if adoption.steps else 'is as it should be'}")
    return await _carry_out(upkeep, adoption.steps, apply)


async def _carry_out(upkeep: Upkeep, steps: Sequence[Step], apply: bool) -> bool:
    if not apply:
        for call in (call for step in steps for call in step):
            click.echo(f"  would: {call}")
        return True
    try:
        await upkeep.carry_out(PrintedRun("operator@here"), steps)
    except JobError as error:
        click.echo(f"  {error}")
        return False
    return True


def _run(
    ctx: click.Context, config: AgentConfig, user: str | None, work: Callable[[Upkeep], Coroutine[Any, Any, bool]]
) -> None:
    """Log in, work, and end with 1 when something was left."""
    settings = Settings.of(config.extras, secret_of(config, "freeipa-password"), os.environ)
    if user is not None:
        password = click.prompt(f"Password of {user}", hide_input=True, err=True)
        settings = dataclasses.replace(settings, who=Credentials(user, password))

    async def main() -> bool:
        servers = Servers(settings)
        try:
            return await work(Upkeep(Directory(settings, servers), servers))
        finally:
            await servers.close()

    if not asyncio.run(main()):
        ctx.exit(EXIT_LEFT)
