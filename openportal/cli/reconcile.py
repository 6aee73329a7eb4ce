"""`op-slurm reconcile`: what Slurm has against what the agent made of it, and the repair of what can be repaired.

Exit codes: 0 nothing to do, or all of it done; 1 differences are left; 2 Slurm or the ledger could not be asked, and
nothing was done.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from openportal.agents.scheduler.slurm import plan
from openportal.agents.scheduler.slurm.accounts import Accounts
from openportal.agents.scheduler.slurm.commands import Commands
from openportal.agents.scheduler.slurm.made import Made
from openportal.agents.scheduler.slurm.reconcile import Difference, Seen, compare, require_believable
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.transport import Slurm
from openportal.cli.inside import scheduler_config
from openportal.cli.oneshot import failures_of
from openportal.cli.scheduler import made_by, slurm_for_now
from openportal.cli.settings import Word, config_path
from openportal.errors import OpenPortalError
from openportal.paddington.config import AgentConfig, load
from openportal.paddington.peer import Peer
from openportal.templemeads.logs import configure

EXIT_DIFFERENT: Final = 1
EXIT_UNKNOWN: Final = 2
PIPE_COLUMNS: Final = 240
SENDER, ZONE = "reconcile", "one-shot"


@click.command(name="reconcile", cls=Word, help="Compare what Slurm has with what this agent made, and repair it.")
@click.option("--dry-run/--apply", "is_dry", default=True, help="Only show the differences (default), or repair them.")
@click.option("--all-are-gone", is_flag=True, help="Believe it when Slurm shows nothing of what was made.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def reconcile(ctx: click.Context, is_dry: bool, all_are_gone: bool, as_json: bool) -> None:
    configure("error", sys.stderr)
    config = scheduler_config(load(config_path(ctx)))
    try:
        left, failures = asyncio.run(_reconcile(config, is_dry, all_are_gone))
    except OpenPortalError as error:
        click.echo(f"op-slurm reconcile: {error}", err=True)
        sys.exit(EXIT_UNKNOWN)
    _print(left, as_json)
    for failure in failures:
        click.echo(f"op-slurm reconcile: {failure}", err=True)
    sys.exit(EXIT_DIFFERENT if left else 0)


async def _reconcile(config: AgentConfig, is_dry: bool, all_are_gone: bool) -> tuple[list[Difference], list[str]]:
    """The differences that are left, and the repairs that failed. Raises OpenPortalError when a look fails."""
    settings = Settings.of(config.extras)
    commands = Commands(settings)
    async with slurm_for_now(settings, commands) as slurm:
        made = made_by(config)
        accounts = Accounts(slurm, commands, settings)
        seen = await _look(slurm, await accounts.cluster(), made)
        found = compare(made, seen, settings.parent, settings.node)
        repairs = [one.repair for one in found if one.repair is not None]
        if is_dry or not repairs:
            return found, []
        if not all_are_gone:
            require_believable(made, seen, settings.parent)
        failures = await failures_of(config, "op-slurm", repairs, Peer(SENDER, ZONE))
        seen = await _look(slurm, seen.cluster, made)
        return compare(made, seen, settings.parent, settings.node), failures


async def _look(slurm: Slurm, cluster: str, made: Made) -> Seen:
    """Everything that there is on the cluster of accounts, and the users that we made."""
    names = {plan.user_name(mapping.local_user) for mapping, is_there in made.users.items() if is_there}
    accounts, associations = await slurm.accounts(), await slurm.associations(cluster)
    users = [await slurm.user(name) for name in sorted(names & {one.user for one in associations})]
    return Seen.of(cluster, accounts, associations, [user for user in users if user is not None])


def _print(differences: Sequence[Difference], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(one) for one in differences], indent=2))
        return
    if not differences:
        click.echo("Slurm has what this agent made, and no more.")
        return
    table = Table("kind", "what", "name", "detail", "repair", box=None)
    for one in differences:
        table.add_row(one.kind, one.what, one.name, one.detail, one.repair or "by hand")
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)
