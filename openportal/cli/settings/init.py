"""`init`: a new configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import tomlkit

from openportal.cli.settings.word import AGENT_META, PORT, Word, config_path, options
from openportal.errors import ConfigError
from openportal.paddington.config import (
    BRIDGE_HTTP_PORT,
    BRIDGE_URL,
    NOTIFICATION_URL,
    SIGNAL_URL,
    AgentDefaults,
    IpRules,
    check_address,
    check_name,
    check_type,
    checked_text,
    web_url,
    websocket_url,
)
from openportal.paddington.files import write_private
from openportal.paddington.invite import new_key

_INIT = options(
    click.option("-n", "--service", help="Name of this agent."),
    click.option("-u", "--url", help="URL at which its clients reach it."),
    click.option("-i", "--ip", help="Address to listen on.  [default: 127.0.0.1]"),
    click.option("-p", "--port", type=PORT, help="Port to listen on."),
    click.option("-k", "--healthcheck-port", type=PORT, help="Port of the health check; none without."),
    click.option("-x", "--proxy-header", help="Header that holds a client's address behind a proxy."),
    click.option("--trusted-proxy", help="Addresses whose proxy header is believed."),
    click.option("-f", "--force", is_flag=True, help="Replace a file that exists."),
)
_INIT_BRIDGE = options(
    click.option("-r", "--bridge-url", default=BRIDGE_URL, show_default=True, help="URL of the HTTP API."),
    click.option("-b", "--bridge-ip", default="127.0.0.1", show_default=True, help="Address of the HTTP API."),
    click.option("-q", "--bridge-port", type=PORT, default=BRIDGE_HTTP_PORT, show_default=True, help="Its port."),
    click.option("-s", "--signal-url", default=SIGNAL_URL, show_default=True, help="Called when a job arrives."),
    click.option(
        "-N", "--notification-url", default=NOTIFICATION_URL, show_default=True, help="Called with each notification."
    ),
)


@click.command("init", cls=Word, help="Write a new configuration file.")
@_INIT
@click.pass_context
def init(ctx: click.Context, /, force: bool, **options: Any) -> None:
    agent: AgentDefaults = ctx.meta[AGENT_META]
    tables = {"agent": agent.agent, "service": _new_service(agent, options), "extras": {}}
    _write_new(config_path(ctx), tables, force)


@click.command("init", cls=Word, help="Write a new configuration file.")
@_INIT
@click.option(
    "--agent", "kind", default="scheduler", show_default=True,
    type=click.Choice(["scheduler", "instance"], case_sensitive=False),
    help="Be the scheduler of an instance, or an instance with its scheduler inside.",
)  # fmt: skip
@click.pass_context
def init_slurm(ctx: click.Context, /, force: bool, kind: str, **options: Any) -> None:
    agent: AgentDefaults = ctx.meta[AGENT_META]
    tables = {"agent": check_type(kind), "service": _new_service(agent, options), "extras": {}}
    _write_new(config_path(ctx), tables, force)


@click.command("init", cls=Word, help="Write a new configuration file.")
@_INIT
@_INIT_BRIDGE
@click.pass_context
def init_bridge(ctx: click.Context, /, force: bool, **options: Any) -> None:
    agent: AgentDefaults = ctx.meta[AGENT_META]
    tables = {
        "agent": agent.agent,
        "service": _new_service(agent, options),
        "bridge": _new_bridge(options),
        "extras": {},
    }
    _write_new(config_path(ctx), tables, force)


def _new_service(agent: AgentDefaults, options: Mapping[str, Any]) -> dict[str, Any]:
    port = options["port"] or agent.port
    trusted = options["trusted_proxy"]
    table = {
        "name": check_name((options["service"] or agent.service).strip()),
        "url": websocket_url(options["url"] or f"ws://localhost:{port}"),
        "ip": check_address(options["ip"] or "127.0.0.1"),
        "port": port,
        "heathcheck_port": options["healthcheck_port"],
        "proxy_header": options["proxy_header"],
        "trusted_proxy": trusted and str(IpRules.parse(trusted)),
        "servers": [],
        "clients": [],
    }
    return {key: value for key, value in table.items() if value is not None}


def _new_bridge(options: Mapping[str, Any]) -> dict[str, Any]:
    table = {
        "url": web_url(options["bridge_url"]),
        "ip": check_address(options["bridge_ip"]),
        "port": options["bridge_port"],
        "signal_url": options["signal_url"] and web_url(options["signal_url"]),
        "notification_url": options["notification_url"] and web_url(options["notification_url"]),
    }
    return {**{key: value for key, value in table.items() if value}, "key": {"data": new_key().hex()}}


def _write_new(path: Path, tables: Mapping[str, Any], force: bool) -> None:
    if path.exists() and not force:
        raise ConfigError(f"{path} exists; give --force to replace it, which forgets its peers and keys.")
    document = tomlkit.document()
    for key, value in tables.items():
        document.add(key, tomlkit.item(value))
    write_private(path, checked_text(document, path).encode())
    click.echo(f"{path} is written.")
