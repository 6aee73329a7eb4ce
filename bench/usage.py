"""Usage reports of a whole portal from a real Slurm: what a month of it costs, when nothing is kept and when all is.

    PYTHONPATH=. .venv/bin/python bench/usage.py                  24.11: 100 projects, 31 days, 200 jobs a day each
    PYTHONPATH=. .venv/bin/python bench/usage.py --way json       sacct behind a prefix; `--way rest`: slurmrestd
    PYTHONPATH=. .venv/bin/python bench/usage.py --version 22.05 --projects 20

As root: it starts the Slurm of the tests in namespaces of its own and fills the table of jobs of its accounting
database. Reports are asked for by all projects at once, as they come from a portal, with as many questions at a time
as an agent has by default. They are checked against the database's own sums before a figure is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shlex
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from openportal.agents.scheduler.slurm.commands import Commands
from openportal.agents.scheduler.slurm.reports import UsageReports, UsageRules
from openportal.agents.scheduler.slurm.rest import Rest, client_of
from openportal.agents.scheduler.slurm.settings import RUNNERS, Settings, parse_node
from openportal.agents.scheduler.slurm.token import SignedTokens, Tokens
from openportal.agents.scheduler.slurm.transport import Slurm
from openportal.agents.scheduler.slurm.windows import Window
from openportal.grammar.dates import DateRange
from openportal.grammar.identifiers import ProjectIdentifier
from openportal.grammar.usage import ProjectUsageReport
from tests.systems.slurm.cluster import NAME, Cluster
from tests.systems.slurm.roots import SUITES, slurm_root

ZONE: Final = ZoneInfo("Europe/London")
FIRST: Final = date(2026, 10, 1)  # a month with 31 days and a day of 25 hours
NODE: Final = json.dumps({"cpus": 64, "gpus": 4, "mem": 128_000, "billing": 160})
LONGEST_SECONDS: Final = 3 * 3600
WAIT_SECONDS: Final = 60
TIMEOUT_SECONDS: Final = 600
MARIADB: Final = "mariadb -S /run/mysqld/mysqld.sock slurm_acct_db -N"
COLUMNS: Final = f"select column_name from information_schema.columns where table_name='{NAME}_job_table'"
NUMBERED: Final = "job_db_inx"


def account(number: int) -> str:
    return f"brics.p{number}"


def fill(cluster: Cluster, projects: int, days: int, jobs: int) -> None:
    """Accounts with one user each, and their jobs: begun at any time of a day, over within three hours."""
    cluster.shell("; ".join(f"sacctmgr -i add account name={account(n)} cluster={NAME}" for n in range(projects)))
    cluster.shell(f"sacctmgr -i add user name=alice cluster={NAME} account={','.join(map(account, range(projects)))}")
    cluster.shell(f"cd /tmp; sbatch --wait -o /dev/null -A {account(0)} -n 4 --gres=gpu:1 --wrap 'sleep 1'", "alice")
    columns = [name for name in sql(cluster, COLUMNS).split() if name != NUMBERED]
    names = ",".join(f"`{name}`" for name in columns)
    for number in range(projects):
        values = ",".join(expression(number, days, jobs).get(name, f"job.`{name}`") for name in columns)
        every = f"from {NAME}_job_table job, seq_0_to_{jobs * days - 1} where job.id_job=1"
        sql(cluster, f"insert into {NAME}_job_table ({names}) select {values} {every}")


def expression(number: int, days: int, jobs: int) -> dict[str, str]:
    """What is not copied from the one job that ran."""
    start = Window.of_day(FIRST, ZONE).start
    length = Window.of_days(FIRST, FIRST + timedelta(days=days - 1), ZONE).seconds
    begun = f"({length} * seq DIV {jobs * days} + {start})"
    return {
        "account": f"'{account(number)}'",
        "id_assoc": f"(select id_assoc from {NAME}_assoc_table where acct='{account(number)}' and user='alice')",
        "id_job": f"{1000 + number * jobs * days} + seq",
        "time_submit": f"{begun} - {WAIT_SECONDS}",
        "time_eligible": f"{begun} - {WAIT_SECONDS}",
        "time_start": begun,
        "time_end": f"{begun} + 1 + (seq * 7919 + {number} * 104729) MOD {LONGEST_SECONDS}",
    }


def sql(cluster: Cluster, statement: str) -> str:
    return cluster.shell(f"{MARIADB} -e {shlex.quote(statement)}")


def seconds_of(cluster: Cluster, number: int, window: Window) -> int:
    """What the database itself says that an account's jobs ran in a window."""
    part = f"greatest(0, least(time_end,{window.end})-greatest(time_start,{window.start}))"
    return int(sql(cluster, f"select sum({part}) from {NAME}_job_table where account='{account(number)}'"))


def slurm_by(way: str, cluster: Cluster, folder: Path) -> Slurm:
    if way == "rest":
        key = folder / "jwt.key"
        key.write_text(cluster.shell("cat /etc/slurm/jwt.key"))
        tokens = Tokens(SignedTokens(key, "root", 3600, time.time), 3600, time.monotonic)
        return Rest(client_of(f"unix:{cluster.rest_socket}", "root"), tokens, TIMEOUT_SECONDS, RUNNERS)
    inside = folder / "sacct"
    inside.write_text(f'#!/bin/sh\nexec {cluster.prefix} sacct "$@"\n')
    inside.chmod(0o755)
    command = str(inside) if way == "text" else f"{cluster.prefix} sacct"
    extras = {"slurm-default-node": NODE, "sacct": command, "slurm-timeout": str(TIMEOUT_SECONDS)}
    return Commands(Settings.of(extras))


async def ask(reports: UsageReports, projects: int, days: DateRange) -> tuple[float, list[ProjectUsageReport], int]:
    """How long the reports of all projects take, as documents; the reports; the size of the documents in bytes."""
    start = time.perf_counter()
    asked = [
        reports.project(ProjectIdentifier.parse(f"p{number}.brics"), account(number), days)
        for number in range(projects)
    ]
    found = await asyncio.gather(*asked)
    size = sum(len(report.to_json()) for report in found)
    return time.perf_counter() - start, list(found), size


def check(cluster: Cluster, found: Sequence[ProjectUsageReport], days: DateRange) -> None:
    window = Window.of_days(days.start_date, days.end_date, ZONE)
    for number in (0, len(found) - 1):
        cpus = found[number].total.components["cpu"]["alice"]
        assert cpus == 4 * seconds_of(cluster, number, window), f"{account(number)}: {cpus} cpu seconds"
        assert found[number].is_complete


def cpu_of(cluster: Cluster, daemon: str) -> float:
    """CPU seconds of a daemon so far."""
    fields = cluster.shell(f"cat /proc/{cluster.pids(daemon)[0]}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu(cluster: Cluster) -> dict[str, float]:
    """CPU seconds so far of everything that has a part in a report."""
    tools = resource.getrusage(resource.RUSAGE_CHILDREN)
    daemons = {daemon: cpu_of(cluster, daemon) for daemon in ("slurmdbd", "mariadbd")}
    return {"our own": time.process_time(), "the tools": tools.ru_utime + tools.ru_stime, **daemons}


async def measure(cluster: Cluster, arguments: argparse.Namespace, folder: Path) -> None:
    days = DateRange(FIRST, FIRST + timedelta(days=arguments.days - 1))
    source = slurm_by(arguments.way, cluster, folder)
    rules = UsageRules(parse_node(NODE), ZONE)
    jobs = arguments.projects * arguments.days * arguments.jobs
    print(f"Slurm {arguments.version}, {arguments.way}: {arguments.projects} projects x {arguments.days} days x "
          f"{arguments.jobs} jobs = {jobs} jobs")  # fmt: skip
    reports = UsageReports(source, NAME, rules, time.time)
    for name in ("cold", "warm"):
        before = cpu(cluster)
        seconds, found, size = await ask(reports, arguments.projects, days)
        used = {who: spent - before[who] for who, spent in cpu(cluster).items()}
        check(cluster, found, days)
        shares = ", ".join(f"{who} {spent:.2f} s" for who, spent in used.items())
        print(f"{name}: {seconds:.2f} s, {size / 1e6:.1f} MB of documents; CPU {sum(used.values()):.2f} s: {shares}")
    await source.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", choices=SUITES, default="24.11")
    parser.add_argument("--way", choices=("text", "json", "rest"), default="text")
    parser.add_argument("--projects", type=int, default=100)
    parser.add_argument("--days", type=int, default=31)
    parser.add_argument("--jobs", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Cluster(folder / "slurm", slurm_root(arguments.version), arguments.version) as cluster:
            fill(cluster, arguments.projects, arguments.days, arguments.jobs)
            asyncio.run(measure(cluster, arguments, folder))


if __name__ == "__main__":
    main()
