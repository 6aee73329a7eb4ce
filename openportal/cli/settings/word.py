"""What the commands share: errors as one sentence, the file that they are about, options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from openportal.errors import OpenPortalError
from openportal.paddington.config import (
    AgentDefaults,
)

AGENT_META = "openportal.agent"
PATH_META = "openportal.config_file"
PORT = click.IntRange(1, 65535)
FILE = click.Path(path_type=Path)


def config_path(ctx: click.Context) -> Path:
    """The file that `-c/--config-file` names, or the agent's default one."""
    path: Path = ctx.meta[PATH_META]
    return path


def config_file_option(agent: AgentDefaults) -> click.Option:
    def remember(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
        ctx.meta[AGENT_META] = agent
        ctx.meta[PATH_META] = (value or agent.config_file).expanduser().absolute()

    return click.Option(
        ["-c", "--config-file"],
        type=FILE,
        callback=remember,
        expose_value=False,
        help="Path of the configuration file.",
    )


class Word(click.Command):
    """A command whose errors are one sentence on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OpenPortalError as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            raise  # whoever reads us has enough; click ends the command
        except OSError as error:
            raise click.ClickException(f"{error.filename}: {error.strerror}.") from None


def options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order of the help."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def only_one(ctx: click.Context, **given: object) -> str | None:
    """The one action that was asked for; with none, the help is shown."""
    asked = [name for name, value in given.items() if is_given(value)]
    if len(asked) > 1:
        raise click.UsageError(f"Give one of {', '.join('--' + name for name in given)}, not several.")
    if not asked:
        click.echo(ctx.get_help())
        return None
    return asked[0]


def is_given(value: object) -> bool:
    """Whether an option stands on the command line; an empty text does."""
    return value is not None and value is not False
