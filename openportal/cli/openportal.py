"""The operator's command: how agents stand, what their ledgers tell, and a whole facility for training."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from openportal.cli import client_commands, job_change, ledger_keep, site_backup, site_migration
from openportal.cli.demo import run_demo
from openportal.cli.facility import Facility
from openportal.cli.job_read import job
from openportal.cli.ledger_read import ledger
from openportal.cli.rollout import bundle, site, topology
from openportal.cli.settings import Word
from openportal.cli.status import status


@click.group()
@click.version_option(package_name="openportal-agents")
def main() -> None:
    """Ask a bridge for jobs, and look at agents and their ledgers. PATHS are agents' files, or folders of them."""


for command in client_commands.COMMANDS:
    main.add_command(command)
for command in ledger_keep.COMMANDS:
    ledger.add_command(command)
for command in job_change.COMMANDS:
    job.add_command(command)
main.add_command(status)
main.add_command(ledger)
main.add_command(job)
for command in (*site_backup.COMMANDS, *site_migration.COMMANDS):
    site.add_command(command)
for command in (topology, bundle, site, site_backup.backup_key):
    main.add_command(command)


# --- facilities -------------------------------------------------------------------------------------------------------


@main.command(cls=Word)
@click.option("--users", type=click.IntRange(4, 400), default=40, show_default=True, help="How many users to ask for.")
@click.option("--keep", type=click.Path(path_type=Path), help="Use this folder and leave it behind.")
@click.option("--plain", is_flag=True, help="No colours.")
def demo(users: int, keep: Path | None, plain: bool) -> None:
    """A whole facility on this machine: eight agents, killed in the middle, finishing all the same."""
    console = Console(no_color=plain, highlight=False)
    in_folder(keep, "openportal-demo-", lambda folder: sys.exit(run_demo(folder, users, console)))


@main.command(cls=Word)
@click.option("--keep", type=click.Path(path_type=Path), help="Use this folder and leave it behind.")
def facility(keep: Path | None) -> None:
    """Run a facility with sandbox leaves until Ctrl-C, to train on or to try a client against."""
    in_folder(keep, "openportal-facility-", run_facility)


def run_facility(folder: Path) -> None:
    with Facility(folder) as running:
        running.lay_out()
        running.start()
        running.wait_ready()
        click.echo(f"The facility runs in {folder}. Clients load {running.client_file}. Ctrl-C ends it.")
        try:
            while True:
                time.sleep(1)
                running.revive()
                running.check()
        except KeyboardInterrupt:
            running.stop()


def in_folder(keep: Path | None, prefix: str, work: Callable[[Path], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):  # else the agents would outlive us
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, signal.default_int_handler)
    if keep is not None:
        work(keep.absolute())
        return
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        work(Path(folder))
