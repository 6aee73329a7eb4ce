"""`extra`, `secret` and `encryption`: the options of an agent, in clear or sealed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from openportal.cli.settings import tables
from openportal.cli.settings.word import Word, config_path
from openportal.errors import ConfigError, OpenPortalError
from openportal.paddington.config import (
    AgentConfig,
    edit,
    load,
)
from openportal.paddington.files import FILE_BYTES_MAX, read_text
from openportal.paddington.secretstore import Form, looks_sealed, open_secret, password_of, seal_secret


@click.command("extra", cls=Word, help="Set an option of this agent.")
@click.option("-k", "--key", required=True, help="Name of the option.")
@click.option("-v", "--value", required=True, help="Its value.")
@click.pass_context
def extra(ctx: click.Context, key: str, value: str) -> None:
    _set_extra(config_path(ctx), key, value)


@click.command("secret", cls=Word, help="Set an option of this agent, sealed. The value is read from standard input.")
@click.option("-k", "--key", required=True, help="Name of the option.")
@click.option("-v", "--value", help="Its value; other users of the machine can see it while the command runs.")
@click.option("--value-file", metavar="FILE", help="File that holds the value; - is standard input.")
@click.option("--form", type=click.Choice(["v0", "v1"]), default="v0", show_default=True, help="v1 is read by us only.")
@click.pass_context
def secret(ctx: click.Context, key: str, value: str | None, value_file: str | None, form: Form) -> None:
    if value is not None and value_file is not None:
        raise click.UsageError("Give --value or --value-file, not both.")
    if value is not None:
        click.echo("Warning: --value shows the secret to other users of this machine; use --value-file -.", err=True)
    path = config_path(ctx)
    config = load(path)
    password = password_of(config.encryption, config.service.name)
    plain = _secret_value(value_file or "-") if value is None else value
    _set_extra(path, key, seal_secret(plain, password, form))


def _secret_value(file: str) -> str:
    """The text of a file or of standard input, without the line end that editors and echo put there."""
    if file != "-":
        text = read_text(Path(file).expanduser())
    elif sys.stdin.isatty():
        return str(click.prompt("Value", hide_input=True, err=True))
    else:
        text = sys.stdin.read(FILE_BYTES_MAX)
    return text.removesuffix("\n").removesuffix("\r")


def _set_extra(path: Path, key: str, value: str) -> None:
    if not key.strip():
        raise ConfigError("Give --key a name that is not empty.")
    with edit(path) as (document, _):
        tables.put(tables.child(document, "extras"), {key: value})
    click.echo(f"The option {key} is set.")


@click.command("encryption", cls=Word, help="How the secrets of this agent are sealed.")
@click.option("-s", "--simple", is_flag=True, help="With the agent's name: no protection, for trials only.")
@click.option("-e", "--environment", metavar="VARIABLE", help="With the value of this environment variable.")
@click.pass_context
def encryption(ctx: click.Context, simple: bool, environment: str | None) -> None:
    if environment is None and not simple:
        click.echo(ctx.get_help())
        return
    scheme: dict[str, Any] = {"Simple": {}}
    if environment is not None:
        if not environment or "=" in environment or "\0" in environment:
            raise ConfigError("Give --environment the name of a variable.")
        scheme = {"Environment": {"key": environment}}
    path = config_path(ctx)
    with edit(path) as (document, _):
        document.pop("encryption", None)
        service = tables.child(document, "service")
        service.pop("encryption", None)
        service["encryption"] = scheme
    lost = _unopened(load(path))
    click.echo(f"The secrets are sealed with {environment or 'the name of the agent, which protects nothing'}.")
    if lost:
        click.echo(f"Warning: set again, as they do not open with this password: {', '.join(lost)}.", err=True)


def _unopened(config: AgentConfig) -> list[str]:
    """The extras that look like secrets and do not open (any more)."""
    sealed = {key: value for key, value in config.extras.items() if looks_sealed(value)}
    return [key for key, value in sealed.items() if not _opens(config, value)]


def _opens(config: AgentConfig, stored: str) -> bool:
    try:
        open_secret(stored, password_of(config.encryption, config.service.name))
    except OpenPortalError:
        return False
    return True
