"""Our agents among released Rust agents 0.32.2, each way round, driven by the published clients.

    python tests/interop/upstream.py --upstream FOLDER [--only NAME …] [--no-kills] [--idle SECONDS] [--keep FOLDER]

FOLDER holds the released programs op-bridge, op-portal, op-provider, op-clusters, op-cluster, op-localaccount and
op-filesystem; how they came to be is not looked at. For each of them there are two facilities, with the same files:

    one   all agents are ours but that one        rest   all agents are theirs but that one

and for each agent between two portals (a bridge and a portal on either side) two more, for awards, named `award-…`.

The scheduler is our sandbox. Each facility runs the steps below with the published clients (0.32.2 and 0.94.0;
a bridge of 0.32.2 knows the first one only). Then the agent that differs and each of its neighbours are killed (-9)
with jobs under way and started again: jobs under way have to finish, and new ones too.

It needs root, for a mount namespace with an /etc and a /mnt of its own: the account agents make real accounts, and the
filesystem agents real directories, that nobody outside sees. The exit code is 0 only if every step was as expected.
Where 0.32.2 is known to behave differently the expectation says so; see docs/interoperation.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from openportal.cli.facility import CHAIN, MEMBERS
from tests.interop.awards import AwardTrial, award_trials
from tests.interop.mixed import STEP_MS, VOLUMES, Answer, Client, Mixed, Software, Step, Table

SWAPPED = ("bridge", "brics", "aip1", "clusters", "shared", "acct", "fs")
LEAVES = ("acct", "fs", "slurm")
CLIENTS = ("0.32.2", "0.94.0")
OLD_CLIENT = CLIENTS[:1]
READY_SECONDS = 60.0
OPEN_JOBS = 5
FINISH_SECONDS = 90.0
DOWN_SECONDS = 0.5
UNROUTABLE_MS = 3_000


def steps(project: str, theirs: frozenset[str]) -> Iterator[Step]:
    """The life of a project and a user, and what goes wrong."""

    def run(instruction: str) -> Callable[[Client], Answer]:
        return lambda client: client.run(instruction)

    name = project.partition(".")[0]
    user = f"bob.{project}"
    mapping = f"{user}:bob.{name}:brics.{name}"
    yield Step("add_project", run(f"add_project {project}"), lambda r: r == f"{project}:brics.{name}")
    yield Step("add_user", run(f"add_user {user}"), lambda r: r == mapping)
    yield Step("add_user again", run(f"add_user {user}"), lambda r: r == mapping)
    yield Step("get_users", run(f"get_users {project}"), [mapping])
    yield Step("get_home_dir", run(f"get_home_dir {user}"), lambda r: "bob" in str(r))
    yield Step("block_user", run(f"block_user {user}"), lambda r: r == mapping)
    yield Step("is_blocked_user", run(f"is_blocked_user {user}"), True)
    yield Step("unblock_user", run(f"unblock_user {user}"), lambda r: r == mapping)
    yield Step("is_blocked_user, after", run(f"is_blocked_user {user}"), False)
    yield Step("set_limit", run(f"set_limit {project} 7200"), lambda r: r is not None)
    yield Step("get_usage_report", run(f"get_usage_report {project} this_week"), lambda r: project in str(r))
    yield Step("get_project_dirs", run(f"get_project_dirs {project}"), lambda r: bool(r))
    yield Step("remove_user", run(f"remove_user {user}"), lambda r: r == mapping)
    yield Step("get_users, after", run(f"get_users {project}"), [])
    nobody = f"nobody.{project}"
    yield Step("unknown user", run(f"get_home_dir {nobody}"), lambda r: nobody in str(r), "Error")
    yield from unroutable(project, theirs)
    yield from inspections()


def unroutable(project: str, theirs: frozenset[str]) -> Iterator[Step]:
    """A provider of theirs waits for an agent that it does not know, until the job expires."""

    def ask(client: Client) -> Answer:
        return client.run(f"get_users {project}", UNROUTABLE_MS, "brics.aip1.nowhere")

    if "aip1" in theirs:
        yield Step("unroutable (stays open)", ask, state="Open")
    else:
        yield Step("unroutable", ask, lambda r: "nowhere" in str(r), "Error")


def inspections() -> Iterator[Step]:
    """Health, offerings and diagnostics cross the same links."""
    path = ["bridge", *CHAIN.split(".")]
    yield Step("health", lambda client: client.ask("health", path=path), path)
    offerings = ["cluster1.brics.allocator", "cluster2.brics.allocator"]
    yield Step("sync_offerings", lambda client: client.ask("offerings", sync=offerings), offerings)
    yield Step("get_offerings", lambda client: client.ask("offerings", sync=None), offerings)
    yield Step("diagnostics", lambda client: client.ask("diagnostics", destination=CHAIN), "shared")


def route_to(name: str) -> str:
    """The way from the bridge to an agent, for restarts and diagnostics; the bridge itself is no step."""
    if name in LEAVES:
        return f"{CHAIN}.{name}"
    return "" if name == "bridge" else CHAIN[: CHAIN.index(name) + len(name)]


# --- one facility -----------------------------------------------------------------------------------------------------


@dataclass
class Trial:
    """One facility and what is done in it."""

    name: str
    swapped: str
    facility: Mixed
    table: Table
    number: int
    software: Software = field(default_factory=Software)

    @property
    def versions(self) -> Sequence[str]:
        return OLD_CLIENT if "bridge" in self.facility.theirs else CLIENTS

    def carry_out(self, kills: bool, idle_seconds: float) -> None:
        self.facility.lay_out_leaves(self.software.table)
        with self.facility:
            self.facility.start()
            self.facility.wait_ready()
            if not self._became_ready():
                return
            for at, version in enumerate(self.versions):
                with Client(version, self.facility.client_file) as client:
                    self._drive(client, version, f"t{self.number}{'ab'[at]}.brics")
            if idle_seconds:
                self._idle(idle_seconds)
            if kills:
                with Client(self.versions[-1], self.facility.client_file) as client:
                    self._kill_each(client, self.versions[-1])

    def close(self) -> None:
        self.software.close()

    def _became_ready(self) -> bool:
        """Links come up in any order; their agents dial again after five seconds."""
        begin = time.monotonic()
        with Client(self.versions[0], self.facility.client_file) as client:
            while (answer := client.run("get_projects brics", 10_000))["state"] != "Complete":
                self.facility.check()
                if time.monotonic() > begin + READY_SECONDS:
                    break
                time.sleep(0.5)
        good: bool = answer["state"] == "Complete"
        self._note(self.versions[0], "first job", "" if good else str(answer), begin)
        return good

    def _drive(self, client: Client, version: str, project: str) -> None:
        with Client(version, self.facility.client_file) as self.software.client:
            for step in steps(project, self.facility.theirs):
                begin = time.monotonic()
                self._note(version, step.name, step.problem(client), begin)
            self._check_events(version, project)
        self.software.client = None

    def _check_events(self, version: str, project: str) -> None:
        """What changed at the instance was told to the portal's software."""
        told = [f"project_added {project}"]
        told += [f"user_{what} bob.{project}" for what in ("added", "blocked", "unblocked", "removed")]
        begin = time.monotonic()
        missing = [event for event in told if not self.software.has_seen(event)]
        self._note(version, "events", f"not told of {missing}, but of {self.software.events}" if missing else "", begin)

    def _idle(self, seconds: float) -> None:
        """Links without jobs stay up: the keepalives of both sides agree."""
        begin, before = time.monotonic(), self._disconnections()
        time.sleep(seconds)
        ended = self._disconnections() - before
        self._note("-", "idle", f"{ended} links ended" if ended else "", begin)

    def _disconnections(self) -> int:
        """How many links ended, as our agents tell; every link has one of ours or is between theirs."""
        ours = [member.name for member in MEMBERS if member.name not in self.facility.theirs]
        return sum(self.facility.log(name).read_text(errors="replace").count('"disconnected"') for name in ours)

    def _note(self, version: str, step: str, problem: str, begin: float) -> None:
        self.table.add(self.name, version, step, problem, time.monotonic() - begin)

    # --- kills --------------------------------------------------------------------------------------------------------

    def _kill_each(self, client: Client, version: str) -> None:
        project = f"t{self.number}k.brics"
        client.run(f"add_project {project}")
        members = {member.name: member for member in MEMBERS}
        near = [m.name for m in MEMBERS if self.swapped in m.dials or m.name in members[self.swapped].dials]
        for at, victim in enumerate([self.swapped, *near]):
            begin = time.monotonic()
            whose = "theirs" if victim in self.facility.theirs else "ours"
            problem = self._kill(client, victim, f"k{at}", project)
            self._note(version, f"kill {victim} ({whose})", problem, begin)
        self._restart_softly(client, version)

    def _restart_softly(self, client: Client, version: str) -> None:
        """A soft restart, asked for over HTTP, drops the links and cancels what is open; after it, jobs go on."""
        begin = time.monotonic()
        answer = client.ask("restart", kind="soft", destination=route_to(self.swapped))
        if answer["state"] == "Complete":
            time.sleep(DOWN_SECONDS)
            answer = self._fresh(client, f"get_users t{self.number}k.brics")
        self._note(version, "soft restart", "" if answer["state"] == "Complete" else str(answer), begin)

    def _kill(self, client: Client, victim: str, stem: str, project: str) -> str:
        keeps = victim != "bridge" or victim not in self.facility.theirs
        opened = [client.run(f"add_user {stem}u{i}.{project}", 0) for i in range(OPEN_JOBS)] if keeps else []
        self.facility.kill([victim])
        if self._takes_jobs_without(victim):
            opened += [client.run(f"add_user {stem}v{i}.{project}", 0) for i in range(OPEN_JOBS)]
        time.sleep(DOWN_SECONDS)
        self.facility.start([victim])
        self.facility.wait_ready()
        ended = self._unfinished(client, [job["id"] for job in opened])
        ended.append(self._fresh(client, f"add_user {stem}new.{project}"))
        wrong = [str(answer) for answer in ended if answer["state"] != "Complete"]
        there = set(client.run(f"get_users {project}")["result"] or [])
        promised = {answer["result"] for answer in ended if answer["state"] == "Complete"}
        return "; ".join(wrong + [f"promised and not there: {mapping}" for mapping in promised - there])

    def _takes_jobs_without(self, victim: str) -> bool:
        """Whether the bridge still takes jobs: one of theirs needs the portal to be there."""
        return victim != "bridge" and (victim != "brics" or "bridge" not in self.facility.theirs)

    def _unfinished(self, client: Client, ids: list[str]) -> list[Answer]:
        """How the jobs ended, or stand when time is up."""
        deadline = time.monotonic() + FINISH_SECONDS
        answers: dict[str, Answer] = {}
        for id in ids:
            answers[id] = client.ask("get", id=id, ms=1000)
            while answers[id]["state"] in ("Open", "Raised") and time.monotonic() < deadline:
                time.sleep(0.2)
                answers[id] = client.ask("get", id=id, ms=1000)
        return list(answers.values())

    def _fresh(self, client: Client, instruction: str) -> Answer:
        """A new job; a bridge of theirs refuses it while its portal is away."""
        deadline = time.monotonic() + STEP_MS / 1000
        while (answer := client.run(instruction))["state"] == "Raised" and time.monotonic() < deadline:
            time.sleep(0.5)
        return answer


def trials(upstream: Path, folder: Path, table: Table) -> Iterator[Trial]:
    names = [(kind, swapped) for swapped in SWAPPED for kind in ("one", "rest")]
    for number, (kind, swapped) in enumerate(names):
        name = f"{kind}-{swapped}"
        theirs = {swapped} if kind == "one" else set(SWAPPED) - {swapped}
        facility = Mixed(folder / name, upstream=upstream, theirs=frozenset(theirs), log_level="debug")
        yield Trial(name, swapped, facility, table, number)


# --- a machine of its own ---------------------------------------------------------------------------------------------


def enter(arguments: list[str]) -> None:
    """Run again in a mount namespace of our own."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, *arguments, "--inside"]
    os.execvp(command[0], command)


def cover(folder: Path) -> None:
    """Hide the machine's /etc behind a copy, and what it has at /mnt."""
    subprocess.run(["cp", "-a", "/etc", str(folder / "etc")], check=True)
    subprocess.run(["mount", "--bind", str(folder / "etc"), "/etc"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(VOLUMES)], check=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, required=True, help="the folder of the released programs")
    parser.add_argument("--only", nargs="*", default=[], help="these facilities only, such as one-acct or rest-bridge")
    parser.add_argument("--no-kills", action="store_true", help="the steps only")
    parser.add_argument("--idle", type=float, default=0.0, metavar="SECONDS", help="leave the links idle in between")
    parser.add_argument("--keep", type=Path, help="leave files and logs of the facilities in this folder")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def report(table: Table, log: IO[str] = sys.stdout) -> int:
    names = list(dict.fromkeys(row.facility for row in table.rows))
    print("\nfacility       steps  not as expected", file=log)
    for name in names:
        rows = [row for row in table.rows if row.facility == name]
        bad = [f"{row.step} ({row.client})" for row in rows if row.problem]
        print(f"{name:<14} {len(rows):5}  {', '.join(bad) or '-'}", file=log)
    return 1 if table.failed or not table.rows else 0


def main() -> int:
    options = parse(sys.argv[1:])
    if not options.inside:
        if os.geteuid() != 0:
            sys.exit("this needs root: it makes accounts, in a mount namespace of its own")
        enter(sys.argv[1:])
    table = Table()
    with tempfile.TemporaryDirectory() as scratch:
        cover(Path(scratch))
        try:
            folder = options.keep or Path(scratch)
            upstream = options.upstream.resolve()
            chosen: list[Trial | AwardTrial] = [
                *trials(upstream, folder, table),
                *award_trials(upstream, folder, table),
            ]
            for trial in chosen:
                if options.only and trial.name not in options.only:
                    continue
                try:
                    trial.carry_out(not options.no_kills, options.idle)
                except Exception as error:
                    table.add(trial.name, "-", "facility", f"{type(error).__name__}: {error}", 0.0)
                finally:
                    trial.close()
        finally:
            subprocess.run(["umount", "/etc"], check=True)
    return report(table)


if __name__ == "__main__":
    sys.exit(main())
