"""`client` and `server`: who dials this agent, and whom it dials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from openportal.cli.settings import tables
from openportal.cli.settings.word import FILE, Word, config_path, only_one
from openportal.errors import ConfigError
from openportal.paddington.config import (
    DEFAULT_ZONE,
    AgentConfig,
    ClientPeer,
    IpRules,
    ServerPeer,
    check_moment,
    check_name,
    check_type,
    check_zone,
    checked_text,
    edit,
    load,
    websocket_url,
)
from openportal.paddington.ephemeral import KeyPair
from openportal.paddington.invite import LIFETIME, Invite, new_key
from openportal.paddington.keyring import key_tables

Peer = TypeVar("Peer", ClientPeer, ServerPeer)


@click.command("client", cls=Word, help="The agents that dial this one.")
@click.option("-a", "--add", metavar="NAME", help="Add a client and write its invite into the working folder.")
@click.option("-r", "--remove", metavar="NAME", help="Remove a client.")
@click.option("-l", "--list", "list_", is_flag=True, help="List the clients.")
@click.option("-R", "--rotate", metavar="NAME", help="Give a client new keys and write them into the working folder.")
@click.option("-i", "--ip", help="Address, range or comma list from which the client may connect.")
@click.option("-z", "--zone", help="Zone of the pair.  [default: default]")
@click.option("--type", "type_", help="The type that the client must have.")
@click.option("--proxy", help="Name of the server through which the client is relayed.")
@click.option(
    "--expires", metavar="TIME", help="When the invite ends, such as 2030-01-31T12:00Z.  [default: in a week]"
)
@click.option("--standby", is_flag=True, help="The client runs at several addresses, and one of them works.")
@click.pass_context
def client(ctx: click.Context, /, **options: Any) -> None:
    action = only_one(ctx, **{name: options[name] for name in ("add", "remove", "rotate")}, list=options["list_"])
    path, zone = config_path(ctx), options["zone"] and check_zone(options["zone"].strip())
    if action == "list":
        for peer in load(path).service.clients:
            click.echo(f"ClientConfig {{ name: {peer.name}, ip: {peer.ip or ''}, zone: {peer.zone} }}")
    elif action == "add":
        _add_client(path, zone or DEFAULT_ZONE, options)
    elif action == "remove":
        _remove_peer(path, "clients", options["remove"], zone)
    elif action == "rotate":
        _rotate_client(path, options["rotate"], zone, options["expires"])


def _add_client(path: Path, zone: str, options: Mapping[str, Any]) -> None:
    name, ip, proxy = check_name(options["add"]), options["ip"], options["proxy"]
    if ip is None and proxy is None:
        raise ConfigError(f"Give --ip to say from where the client {name!r} may connect.")
    with edit(path) as (document, config):
        _check_new(config.service.clients, "client", name, zone)
        _check_proxy(config, proxy)
        invite = _invite(config, zone, proxy, options["expires"])
        rules = ip if ip is None else IpRules.parse(ip).to_toml()
        entry = {"name": name, "zone": zone, "type": options["type_"] and check_type(options["type_"]), "proxy": proxy}
        fresh = {"invite_expires": invite.expires, "standby": options["standby"] or None, **_keys(invite)}
        tables.append(tables.child(document, "service"), "clients", {**entry, "ip": rules, **fresh})
        checked_text(document, path)
        if invite.invite_file.exists():
            click.echo(f"{invite.invite_file} was there and is replaced: was it handed on?", err=True)
        invite.save(invite.invite_file)
    click.echo(f"The client {name} is added; its invite is {invite.invite_file}.")


def _rotate_client(path: Path, name: str, zone: str | None, expires: str | None) -> None:
    with edit(path) as (document, config):
        index = _find(config.service.clients, "client", name, zone)
        old = config.service.clients[index]
        invite = _invite(config, old.zone, old.proxy, expires)
        entry = tables.child(document, "service")["clients"][index]
        entry.pop("next_keys", None)
        tables.put(entry, {**_keys(invite), "invite_expires": invite.expires})
        invite.save(invite.rotate_file)
    click.echo(f"The client {name} has new keys; they are in {invite.rotate_file}.")


def _invite(config: AgentConfig, zone: str, proxy: str | None, expires: str | None) -> Invite:
    """An invite of ours with new keys."""
    service, now = config.service, datetime.now(UTC).replace(microsecond=0)
    end = now + LIFETIME if expires is None else check_moment(expires)
    invite = Invite(service.name, service.url, zone, new_key(), new_key(), config.agent, proxy, end)
    invite.check_fresh(now)
    return invite


@click.command("server", cls=Word, help="The agents that this one dials.")
@click.option("-a", "--add", type=FILE, metavar="FILE", help="Add the server that wrote this invite.")
@click.option("-r", "--remove", metavar="NAME", help="Remove a server.")
@click.option("-l", "--list", "list_", is_flag=True, help="List the servers.")
@click.option("-R", "--rotate", type=FILE, metavar="FILE", help="Take a server's new keys from this file.")
@click.option("-z", "--zone", help="Zone of the pair.")
@click.pass_context
def server(ctx: click.Context, /, **options: Any) -> None:
    action = only_one(ctx, **{name: options[name] for name in ("add", "remove", "rotate")}, list=options["list_"])
    path, zone = config_path(ctx), options["zone"] and check_zone(options["zone"].strip())
    if action == "list":
        for peer in load(path).service.servers:
            click.echo(f"ServerConfig {{ name: {peer.name}, url: {peer.url}, zone: {peer.zone} }}")
    elif action == "add":
        _add_server(path, options["add"], zone)
    elif action == "remove":
        _remove_peer(path, "servers", options["remove"], zone)
    elif action == "rotate":
        _rotate_server(path, options["rotate"], zone)


def _add_server(path: Path, file: Path, zone: str | None) -> None:
    invite = _read_invite(file, zone)
    with edit(path) as (document, config):
        _check_new(config.service.servers, "server", invite.name, invite.zone)
        _check_proxy(config, invite.proxy)
        url = websocket_url(invite.url) if invite.url else ""
        entry = {"name": invite.name, "url": url, "zone": invite.zone, "type": invite.type, "proxy": invite.proxy}
        tables.append(tables.child(document, "service"), "servers", {**entry, **_keys(invite)})
    click.echo(f"The server {invite.name} is added.")


def _rotate_server(path: Path, file: Path, zone: str | None) -> None:
    invite = _read_invite(file, zone)
    with edit(path) as (document, config):
        index = _find(config.service.servers, "server", invite.name, invite.zone)
        tables.put(tables.child(document, "service")["servers"][index], _keys(invite))
    click.echo(f"The server {invite.name} has new keys.")


def _read_invite(file: Path, zone: str | None) -> Invite:
    invite = Invite.load(file)
    invite.check_fresh(datetime.now(UTC))
    if zone is not None and zone != invite.zone:
        raise ConfigError(f"{file} is for the zone {invite.zone!r}, not {zone!r}; leave --zone out or ask for another.")
    return invite


def _remove_peer(path: Path, kind: str, name: str, zone: str | None) -> None:
    with edit(path) as (document, config):
        index = _find(getattr(config.service, kind), kind.removesuffix("s"), name, zone)
        tables.drop(tables.child(document, "service"), kind, index)
    click.echo(f"The {kind.removesuffix('s')} {name} is removed.")


def _find(peers: Sequence[Peer], kind: str, name: str, zone: str | None) -> int:
    """The position of a peer. Without a zone, the only one of that name, or else the one in the default zone."""
    found = [i for i, peer in enumerate(peers) if peer.name == name and zone in (None, peer.zone)]
    if len(found) > 1:
        found = [i for i in found if peers[i].zone == DEFAULT_ZONE]
        if not found:
            raise ConfigError(f"There are several {kind}s {name!r}; give --zone.")
    if not found:
        raise ConfigError(f"There is no {kind} {name!r}" + (f" in the zone {zone!r}." if zone else "."))
    return found[0]


def _check_new(peers: Sequence[Peer], kind: str, name: str, zone: str) -> None:
    if any((peer.name, peer.zone) == (name, zone) for peer in peers):
        raise ConfigError(f"There is a {kind} {name!r} in the zone {zone!r} already; remove it, or rotate its keys.")


def _check_proxy(config: AgentConfig, proxy: str | None) -> None:
    if proxy is not None and all(peer.name != proxy for peer in config.service.servers):
        raise ConfigError(f"The proxy {proxy!r} is not a server of this agent; add it first with server --add.")


def _keys(invite: Invite) -> dict[str, Any]:
    return key_tables(KeyPair(invite.inner_key, invite.outer_key))
