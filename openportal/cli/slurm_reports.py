"""`op-slurm get_reservation_report` and `get_requeue_report`: what operators ask of Slurm's accounting by hand.

Both read the records of a period through the agent's own settings, and sum them up by the agent's own rules. A period
is a date, two with a colon between, or a word such as `this_month`. Hours that could not be read are told of; the
figures are then too small. Exit code 1 means that Slurm could not be asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from openportal.agents.scheduler.slurm import plan
from openportal.agents.scheduler.slurm.accounts import Accounts
from openportal.agents.scheduler.slurm.attempts import RequeuePolicy
from openportal.agents.scheduler.slurm.commands import Commands
from openportal.agents.scheduler.slurm.operator_reports import RequeueReport, ReservationReport, requeues, reservation
from openportal.agents.scheduler.slurm.reading import DayRecords, Reader
from openportal.agents.scheduler.slurm.reports import NO_WINDOW, UsageRules
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.transport import JobQuery
from openportal.agents.scheduler.slurm.windows import HOUR_SECONDS, local_day
from openportal.agents.scheduler.slurm.zones import site_zone
from openportal.cli.inside import scheduler_config
from openportal.cli.scheduler import made_by, slurm_for_now
from openportal.cli.settings import Word, config_path
from openportal.errors import ConfigError
from openportal.grammar.dates import DateRange
from openportal.grammar.identifiers import ProjectIdentifier
from openportal.paddington.config import AgentConfig, load
from openportal.templemeads.logs import configure

PIPE_COLUMNS: Final = 120
NODES_SHOWN: Final = 15
WHO_SHOWN: Final = 20

POLICY = click.option("--requeue-policy", default="", help="Count by this policy rather than by that of the agent.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, with times in node seconds.")


@click.command(name="get_reservation_report", cls=Word, help="Show what each account used of the reservation NAME.")
@click.argument("name")
@click.argument("period")
@POLICY
@AS_JSON
@click.pass_context
def get_reservation_report(ctx: click.Context, name: str, period: str, requeue_policy: str, as_json: bool) -> None:
    configure("error", sys.stderr)
    reading = Reading(scheduler_config(load(config_path(ctx))), period, requeue_policy)
    made = reservation(name, asyncio.run(reading.read("")), reading.rules, reading.now)
    if as_json:
        _print_json(made)
    else:
        _show_reservation(made)


@click.command(name="get_requeue_report", cls=Word, help="Show what requeues cost: PROJECT PERIOD, or PERIOD alone.")
@click.argument("words", nargs=-1, required=True, metavar="[PROJECT] PERIOD")
@click.option("--cluster-wide", is_flag=True, help="Of every account; reads every job of the period.")
@click.option("--by-failures", is_flag=True, help="Nodes by how often they failed rather than by what was lost.")
@POLICY
@AS_JSON
@click.pass_context
def get_requeue_report(
    ctx: click.Context,
    words: tuple[str, ...],
    cluster_wide: bool,
    by_failures: bool,
    requeue_policy: str,
    as_json: bool,
) -> None:
    configure("error", sys.stderr)
    *project, period = words
    if len(project) != (0 if cluster_wide else 1):
        raise click.UsageError("give a project and a period, or --cluster-wide and a period only")
    config = scheduler_config(load(config_path(ctx)))
    reading = Reading(config, period, requeue_policy)
    account = "" if cluster_wide else account_of(config, project[0])
    made = requeues(asyncio.run(reading.read(account)), reading.rules, reading.now, by_account=cluster_wide)
    if as_json:
        _print_json(made)
    else:
        _show_requeues(made, by_failures)


def account_of(config: AgentConfig, project: str) -> str:
    """The Slurm account that this agent has put a project into. Raises ConfigError if it has none."""
    wanted = ProjectIdentifier.parse(project)
    for mapping in made_by(config).projects:
        if mapping.project == wanted:
            return plan.account_name(mapping.local_group)
    raise ConfigError(f"This agent has made no account for {project}; see `op-slurm reconcile`, or use --cluster-wide.")


class Reading:
    """The records of a period, by an agent's settings. Raises ConfigError and GrammarError."""

    def __init__(self, config: AgentConfig, period: str, policy: str) -> None:
        self._settings = Settings.of(config.extras)
        zone = site_zone(self._settings.time_zone, os.environ)
        chosen = RequeuePolicy.parse(policy) if policy else self._settings.policy
        self.rules = UsageRules(self._settings.node, zone, chosen, self._settings.partition)
        self.now = int(time.time())
        self._days = DateRange.parse(period, local_day(self.now, zone)).days

    async def read(self, account: str) -> list[DayRecords]:
        """The days that have begun, of one account or of all. Raises JobError if Slurm cannot be asked."""
        commands = Commands(self._settings)
        async with slurm_for_now(self._settings, commands) as slurm:
            cluster = await Accounts(slurm, commands, self._settings).cluster()
            query = JobQuery(NO_WINDOW, cluster, (account,) if account else (), self.rules.partition)
            reader = Reader(slurm, query, self.rules.zone, self.now)
            return [day async for day in reader.days(self._days)]


# --- printing ---------------------------------------------------------------------------------------------------------


def _show_reservation(made: ReservationReport) -> None:
    total = made.total
    click.echo(f"Reservation {made.name}: {_hours(total.seconds)} node hours by {total.jobs} jobs")
    for what, rows in (("account", made.accounts.items()), ("day", made.days.items())):
        lines = ((str(key), str(row.jobs), _hours(row.seconds), _hours(row.requeued_seconds)) for key, row in rows)
        _table((what, "jobs", "node hours", "requeued"), lines)
    _tell_missing(made.missing_hours)


def _show_requeues(made: RequeueReport, by_failures: bool) -> None:
    total = made.total
    lost = total.charged_seconds + total.absorbed_seconds
    share = f" ({100 * lost / made.used_seconds:.1f} %)" if made.used_seconds else ""
    click.echo(f"{total.events} requeues; {_hours(lost)} of {_hours(made.used_seconds)} node hours{share}")
    nodes = sorted(made.nodes.items(), key=lambda item: -item[1].events if by_failures else -item[1].absorbed_seconds)
    tables = (
        ("ending", made.endings.items()), ("day", made.days.items()), ("who", [*made.who.items()][:WHO_SHOWN]),
        ("failed node", nodes[:NODES_SHOWN]),
    )  # fmt: skip
    for what, rows in tables:
        lines = (
            (str(key), str(row.events), _hours(row.charged_seconds), _hours(row.absorbed_seconds)) for key, row in rows
        )
        _table((what, "requeues", "charged", "absorbed"), lines)
    _tell_missing(made.missing_hours)


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> None:
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(head):
        table.add_column(name, justify="right" if index else "left")
    for line in lines:
        table.add_row(*line)
    if table.row_count:
        click.echo()
        Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)


def _tell_missing(hours: int) -> None:
    if hours:
        click.echo(f"{hours} hours could not be read from Slurm: every figure is at least what is shown.", err=True)


def _hours(seconds: int) -> str:
    return f"{seconds / HOUR_SECONDS:.1f}"


def _print_json(made: ReservationReport | RequeueReport) -> None:
    click.echo(json.dumps(_plain(asdict(made)), indent=2))


def _plain(value: Any) -> Any:
    """With days as texts, which JSON needs for keys."""
    if isinstance(value, Mapping):
        return {str(key) if isinstance(key, date) else key: _plain(inner) for key, inner in value.items()}
    return value
