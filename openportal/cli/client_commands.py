"""The command line of a portal's software: what it can ask of its bridge, over HTTP and with the same file.

    openportal run "brics.aip1.clusters.shared add_user alice.demo.brics"

Exit codes, for scripts:

    0   done, or all is well
    1   the job failed, or an agent is not connected
    2   it was asked in a wrong way; nothing was sent
    3   the job has not finished in the time given
    4   the bridge cannot be reached, or refuses
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class
from rich.console import Console
from rich.live import Live

from openportal.cli import client_tables as tables
from openportal.cli.client_tables import Seen
from openportal.client import Client, Config, Job
from openportal.client.connection import Connections
from openportal.client.exchange import TIMEOUT_SECONDS, asking, value_of
from openportal.errors import GrammarError
from openportal.grammar.health import Diagnostics, Health
from openportal.grammar.instructions import VERBS, parse_command
from openportal.grammar.text import rejoin
from openportal.paddington.config import default_folder

EXIT_FAILED = 1
EXIT_UNFINISHED = 3
EXIT_BRIDGE = 4
CLIENT_FILE = "bridge-client.toml"
CLIENT_VARIABLE = "OPENPORTAL_CLIENT"
PIPE_COLUMNS = 240
LOG_LINES = 20
WATCH_SECONDS = 2.0
UNTOLD = "The bridge cannot tell how it is."
SHELLS = ("bash", "zsh", "fish")
PROGRAM = "openportal"
COMPLETE_VARIABLE = "_OPENPORTAL_COMPLETE"


class Bridge:
    """A bridge, as the commands need it: the client's objects for jobs, and plain JSON of the rest."""

    def __init__(self, config: Config) -> None:
        self.client = Client(config)
        self._connections = Connections(config, TIMEOUT_SECONDS)

    def ask(self, function: str, body: object = None) -> Any:
        """The JSON that a function answers with. Raises OSError."""
        request = asking(function, body)
        return value_of(request, self._connections.call(request))

    def close(self) -> None:
        self.client.close()
        self._connections.close()


class Asking(click.Command):
    """A command that asks the bridge of `--config-file`, which its function is given as `bridge`.

    What goes wrong is one sentence on stderr and an exit code of its own.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with closing(_opened(ctx.params.pop("config_file"))) as bridge:
                ctx.params["bridge"] = bridge
                return super().invoke(ctx)
        except GrammarError as error:
            raise click.UsageError(str(error)) from None
        except BrokenPipeError:
            raise  # whoever reads us has enough; click ends the command
        except OSError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(EXIT_BRIDGE)


def _opened(path: Path | None) -> Bridge:
    try:
        return Bridge(Config.load(path or default_folder() / CLIENT_FILE))
    except OSError as error:
        raise click.UsageError(f"{error}. Its operator writes one: op-bridge bridge --config {CLIENT_FILE}") from None


BRIDGE = click.option(
    "-c", "--config-file", envvar=CLIENT_VARIABLE, type=click.Path(path_type=Path),
    help=f"The file of the bridge's client; default {CLIENT_FILE} in the folder of the agents' files.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def console() -> Console:
    """Standard output; where it is no terminal, with lines long enough for a row."""
    return Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)


# --- jobs -------------------------------------------------------------------------------------------------------------


def _verbs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The verbs, once there is a destination."""
    if not ctx.params.get("command"):
        return []
    return [
        CompletionItem(word, help=kind.describe().summary)
        for word, kind in sorted(VERBS.items())
        if word.startswith(incomplete)
    ]


@click.command(cls=Asking)
@click.argument("command", nargs=-1, required=True, shell_complete=_verbs)
@BRIDGE
@click.option("--wait", "seconds", type=click.FloatRange(0), help="Wait so long at most; default: to the end.")
@JSON
def run(command: tuple[str, ...], bridge: Bridge, seconds: float | None, as_json: bool) -> None:
    """Ask for a job, and print its result. COMMAND is a destination and an instruction, in one word or in several."""
    asked = rejoin(" ".join(command))
    parse_command(asked)
    with _waiting(asked, as_json):
        job = bridge.client.run(asked, -1 if seconds is None else round(seconds * 1000))
    if as_json:
        click.echo(job.to_json())
    elif job.is_error:
        click.echo(f"{job.error_kind}: {job.error_message}", err=True)
    elif job.is_finished:
        click.echo(tables.result_text(job))
    else:
        click.echo(f"Not finished yet: {job.progress_message or 'nothing is known'}", err=True)
        click.echo(str(job.id))
    sys.exit(_exit_code(job))


def _waiting(asked: str, as_json: bool) -> AbstractContextManager[Any]:
    """Something that moves while we wait, for people."""
    return nullcontext() if as_json or not sys.stderr.isatty() else Console(stderr=True).status(asked)


def _exit_code(job: Job) -> int:
    return EXIT_UNFINISHED if not job.is_finished else EXIT_FAILED if job.is_error else 0


@click.command(cls=Asking)
@click.argument("ids", nargs=-1)
@BRIDGE
@JSON
def jobs(ids: tuple[str, ...], bridge: Bridge, as_json: bool) -> None:
    """The jobs of these IDS as they are now; without IDS, those that wait for this portal's software."""
    found = [bridge.client.get(id) for id in ids] if ids else bridge.client.fetch_jobs()
    if as_json:
        click.echo(tables.plain([json.loads(job.to_json()) for job in found]))
    elif found:
        console().print(tables.job_table(found))
    else:
        click.echo("No job waits for this portal's software.")
    sys.exit(max(map(_exit_code, found), default=0) if ids else 0)


# --- how agents are ---------------------------------------------------------------------------------------------------


@click.command(cls=Asking)
@BRIDGE
@JSON
def health(bridge: Bridge, as_json: bool) -> None:
    """The tree of all agents that the bridge sees, and how each is."""
    answer, found = _health(bridge)
    if as_json:
        click.echo(tables.plain(answer))
    elif found is not None:
        console().print(tables.health_tree(found))
    else:
        click.echo(UNTOLD, err=True)
    sys.exit(_sick(found))


def _health(bridge: Bridge) -> tuple[Any, Seen | None]:
    """The answer, and what it tells if it tells anything."""
    answer = bridge.ask("health")
    try:
        info = Health.from_wire(answer).health
    except GrammarError as error:
        raise OSError(f"/health: the answer cannot be read: {error}") from error
    return answer, None if info is None else Seen.of(info, answer["health"])


def _sick(found: Seen | None) -> int:
    return 0 if found is not None and found.is_whole else EXIT_FAILED


@click.command(cls=Asking)
@click.argument("destination", default="")
@BRIDGE
@click.option("--logs", "lines", type=click.IntRange(0), default=LOG_LINES, show_default=True, help="Lines of its log.")
@click.option("--level", help="Only lines of this level, such as info, or of it and all above it: warn+.")
@JSON
def diagnostics(destination: str, bridge: Bridge, lines: int, level: str | None, as_json: bool) -> None:
    """What went wrong lately at the agent at DESTINATION, a path from the bridge on; without one, at the bridge."""
    answer = bridge.ask("diagnostics", {"destination": destination})
    try:
        report = Diagnostics.from_wire(answer).report
    except GrammarError as error:
        raise OSError(f"/diagnostics: the answer cannot be read: {error}") from error
    if as_json:
        click.echo(tables.plain(answer))
    elif report is not None:
        console().print(tables.diagnostics_tables(report, lines, level))
    if report is None:
        click.echo(f"No report came from {destination or 'the bridge'}.", err=True)
    sys.exit(EXIT_FAILED if report is None else 0)


@click.command(cls=Asking)
@BRIDGE
@click.option(
    "--every", type=click.FloatRange(0.1), default=WATCH_SECONDS, show_default=True, help="Seconds between looks."
)
@click.option("--looks", type=click.IntRange(1), help="End after so many looks; default: on Ctrl-C.")
@JSON
def watch(bridge: Bridge, every: float, looks: int | None, as_json: bool) -> None:
    """The tree of all agents, again and again; the exit code is that of the last look."""
    if as_json:
        sys.exit(_look_again(bridge, every, looks, lambda answer, _: click.echo(tables.plain(answer))))
    with Live(console=console(), auto_refresh=False) as live:

        def draw(_: object, found: Seen | None) -> None:
            live.update(UNTOLD if found is None else tables.health_tree(found), refresh=True)

        code = _look_again(bridge, every, looks, draw)
    sys.exit(code)


def _look_again(bridge: Bridge, every: float, looks: int | None, show: Callable[[Any, Seen | None], None]) -> int:
    for look in count(1):
        answer, found = _health(bridge)
        show(answer, found)
        if look == looks:
            return _sick(found)
        time.sleep(every)
    raise AssertionError("count never ends")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete the words of this command: `eval "$(openportal completion bash)"`."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, COMPLETE_VARIABLE).source())


COMMANDS = (run, jobs, health, diagnostics, watch, completion)
