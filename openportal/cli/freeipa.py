"""`op-freeipa reconcile` and `op-freeipa adopt`: what an operator does with a realm.

Both look and print, in the words of the `ipa` command, whether the agent runs or not. Only `--apply` changes something:
it prints each call and what came of it and writes both into the agent's ledger, so the agent must be stopped.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from openportal.agents.account.freeipa.adopt import Adoption, parse_mappings
from openportal.agents.account.freeipa.directory import Directory
from openportal.agents.account.freeipa.plan import Step
from openportal.agents.account.freeipa.reconcile import Drift
from openportal.agents.account.freeipa.rpc import Credentials
from openportal.agents.account.freeipa.servers import Servers
from openportal.agents.account.freeipa.settings import Settings
from openportal.agents.account.freeipa.upkeep import Upkeep, one_instance
from openportal.cli.compose import ledger_settings
from openportal.cli.job_change import operator_name
from openportal.cli.ledgers import opened_writer
from openportal.cli.settings import Word, config_path
from openportal.errors import JobError
from openportal.paddington.config import AgentConfig, load
from openportal.paddington.secretstore import secret_of
from openportal.templemeads.operation import Operation

Work = Callable[[Upkeep, Operation | None], Coroutine[Any, Any, bool]]
EXIT_LEFT = 1


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

    async def work(upkeep: Upkeep, operation: Operation | None) -> bool:
        found = await upkeep.find_drift(neighbours(config))
        click.echo(f"{len(found)} accounts are not as they should be.")
        return all([await _repair(upkeep, drift, operation) for drift in found])

    _run(ctx, config, user, apply, work)


@click.command("adopt", cls=Word, help="Take users and groups that a site has already under management.")
@click.argument("mappings", type=click.Path(path_type=Path))
@click.option("--instance", metavar="PEER", help="For whom: `name@zone`.  [default: the agent's only neighbour]")
@apply_option
@as_option
@click.pass_context
def adopt(ctx: click.Context, /, mappings: Path, instance: str | None, apply: bool, user: str | None) -> None:
    config, lines = load(config_path(ctx)), parse_mappings(mappings.read_text())
    peer = instance or one_instance(neighbours(config))

    async def work(upkeep: Upkeep, operation: Operation | None) -> bool:
        found = await upkeep.find_adoptions(lines, peer)
        return all([await _take(upkeep, adoption, operation) for adoption in found])

    _run(ctx, config, user, apply, work)


def neighbours(config: AgentConfig) -> list[str]:
    """Those whose accounts the agent makes, as `name@zone`."""
    clients = [f"{client.name}@{client.zone}" for client in config.service.clients]
    return clients + [f"{server.name}@{server.zone}" for server in config.service.servers]


async def _repair(upkeep: Upkeep, drift: Drift, operation: Operation | None) -> bool:
    click.echo(f"{drift.account}: {drift.words}" + ("" if drift.steps else " (a person must decide)"))
    done = await _carry_out(upkeep, drift.subject, drift.steps, operation)
    return operation is not None and done and bool(drift.steps)


async def _take(upkeep: Upkeep, adoption: Adoption, operation: Operation | None) -> bool:
    if adoption.refused:
        click.echo(f"{adoption.mapping}: not adopted: {adoption.refused}")
        return False
    click.echo(f"{adoption.mapping}: {'is adopted' if adoption.steps else 'is as it should be'}")
    return await _carry_out(upkeep, adoption.subject, adoption.steps, operation)


async def _carry_out(upkeep: Upkeep, subject: str, steps: Sequence[Step], operation: Operation | None) -> bool:
    if operation is None:
        for call in (call for step in steps for call in step):
            click.echo(f"  would: {call}")
        return True
    try:
        await upkeep.carry_out(operation.about(subject), steps)
    except JobError as error:
        click.echo(f"  {error}")
        return False
    return True


def _run(ctx: click.Context, config: AgentConfig, user: str | None, apply: bool, work: Work) -> None:
    """Log in, work, and end with 1 when something was left. Raises LedgerLocked before FreeIPA is asked anything."""
    settings = Settings.of(config.extras, secret_of(config, "freeipa-password"), os.environ)
    if user is not None:
        password = click.prompt(f"Password of {user}", hide_input=True, err=True)
        settings = dataclasses.replace(settings, who=Credentials(user, password))

    async def main() -> bool:
        servers = Servers(settings)
        try:
            with _recorded(ctx, config, apply) as operation:
                return await work(Upkeep(Directory(settings, servers), servers), operation)
        finally:
            await servers.close()

    if not asyncio.run(main()):
        ctx.exit(EXIT_LEFT)


@contextmanager
def _recorded(ctx: click.Context, config: AgentConfig, apply: bool) -> Iterator[Operation | None]:
    """What is done goes into the agent's ledger; None where nothing is to be done."""
    if not apply:
        yield None
        return
    with opened_writer(ledger_settings(config)) as ledger:
        by = f"{operator_name()} (uid {os.getuid()})"
        yield Operation(ledger, ctx.command.name or "", by, lambda line: click.echo(f"  {line}"))
