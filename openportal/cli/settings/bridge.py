"""`bridge`: the keys of a bridge's HTTP API and what each of them may do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import tomlkit

from openportal.cli.settings import tables
from openportal.cli.settings.word import FILE, Word, config_path, is_given
from openportal.errors import ConfigError
from openportal.paddington.config import (
    DEFAULT_KEY_ID,
    AgentConfig,
    BridgeKey,
    check_key_id,
    check_moment,
    edit,
    load,
)
from openportal.paddington.files import write_private
from openportal.paddington.invite import new_key


@click.command("bridge", cls=Word, help="The keys of the bridge's HTTP API.")
@click.option("-c", "--config", type=FILE, metavar="FILE", help="Write the file that a client of the API needs.")
@click.option("-r", "--regenerate", is_flag=True, help="Make a new key in place of the old one.")
@click.option("--key-id", metavar="ID", help="The key that is meant; made when there is none.  [default: default]")
@click.option("--verbs", metavar="A,B", help="The only instructions that the key may give.")
@click.option("--destinations", metavar="P,Q", help="Prefixes of the only destinations that the key may address.")
@click.option("--expires", metavar="TIME", help="When the key ends, such as 2030-01-31T12:00:00Z.")
@click.option("--remove-key", metavar="ID", help="Remove a key.")
@click.pass_context
def bridge(ctx: click.Context, /, config: Path | None, remove_key: str | None, **options: Any) -> None:
    path = config_path(ctx)
    if remove_key is not None:
        if config is not None or any(map(is_given, options.values())):
            raise click.UsageError("Give --remove-key alone.")
        _remove_key(path, remove_key)
    elif config is None and not any(map(is_given, options.values())):
        click.echo(ctx.get_help())
    else:
        _change_and_write_key(path, config, options)


def _change_and_write_key(path: Path, client_file: Path | None, options: Mapping[str, Any]) -> None:
    key_id = DEFAULT_KEY_ID if options["key_id"] is None else check_key_id(options["key_id"])
    limits = _limits(options)
    exists = any(key.id == key_id for key in _bridge_keys(load(path), path))
    if options["regenerate"] and not exists:
        raise ConfigError(f"There is no key {key_id!r} to make anew; leave --regenerate out to add it.")
    if exists and not limits and not options["regenerate"] and client_file is None:
        raise ConfigError(f"There is a key {key_id!r} already; give --config, --regenerate or what to change.")
    if limits or options["regenerate"] or not exists:
        fresh = {"data": new_key().hex()} if options["regenerate"] or not exists else {}
        _change_key(path, key_id, {**fresh, **limits})
    if client_file is not None:
        _write_client_file(path, client_file, key_id)


def _limits(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a key is restricted to, as the file holds it. An empty list is refused: it would be taken for no limit."""
    limits: dict[str, Any] = {}
    for name in ("verbs", "destinations"):
        if options[name] is not None:
            limits[name] = [part.strip() for part in options[name].split(",") if part.strip()]
            if not limits[name]:
                raise ConfigError(f"Give --{name} at least one entry; leave it out for no limit.")
    if options["expires"] is not None:
        limits["expires"] = check_moment(options["expires"])
    return limits


def _change_key(path: Path, key_id: str, values: Mapping[str, Any]) -> None:
    with edit(path) as (document, config):
        table = tables.child(document, "bridge")
        ids = [key.id for key in _bridge_keys(config, path)]
        extra_ids = ids[1:] if "key" in table else ids
        if key_id in extra_ids:
            tables.put(table["keys"][extra_ids.index(key_id)], values)
        elif key_id == DEFAULT_KEY_ID:
            tables.put(tables.child(table, "key"), values)
        else:
            tables.append(table, "keys", {"id": key_id, **values})
    click.echo(f"The key {key_id} is {'new' if 'data' in values else 'changed'}.")


def _remove_key(path: Path, key_id: str) -> None:
    with edit(path) as (document, config):
        table = tables.child(document, "bridge")
        ids = [key.id for key in _bridge_keys(config, path)]
        extra_ids = ids[1:] if "key" in table else ids
        if key_id not in ids:
            raise ConfigError(f"There is no key {key_id!r}.")
        if len(ids) == 1:
            raise ConfigError(f"The key {key_id!r} is the only one; add another first, or make it anew.")
        if key_id in extra_ids:
            tables.drop(table, "keys", extra_ids.index(key_id))
        else:
            del table["key"]
    click.echo(f"The key {key_id} is removed.")


def _write_client_file(path: Path, client_file: Path, key_id: str) -> None:
    config = load(path)
    key = next(key for key in _bridge_keys(config, path) if key.id == key_id)
    assert config.bridge is not None
    document = tomlkit.item({"url": config.bridge.url, "key": {"data": key.key.hex()}})
    write_private(client_file.expanduser(), document.as_string().encode())
    click.echo(f"The client's file is {client_file}.")


def _bridge_keys(config: AgentConfig, path: Path) -> tuple[BridgeKey, ...]:
    if config.bridge is None:
        raise ConfigError(f"{path} has no [bridge] table; it is not the file of a bridge.")
    return config.bridge.keys
