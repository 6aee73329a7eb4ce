"""The words that every agent's command shares: init, client, server, extra, secret, encryption, and a bridge's bridge.

    op-portal -c FILE init --service brics --url wss://portal.example.org --ip 127.0.0.1
    op-portal -c FILE client --add aip1 --ip 10.0.0.0/8        writes invite_brics_default.toml in the working folder
    op-provider server --add invite_brics_default.toml

Spellings, short forms and defaults are those of today's agents, so that operators' scripts keep working. `attach` puts
`-c/--config-file` and the words on a group; `config_path` is how a further command (`run`) finds the file. Every change
replaces the file in one step and keeps what it does not concern. An error is one sentence on stderr and exit code 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import tomlkit
from tomlkit.items import AoT, InlineTable

from openportal.errors import ConfigError, OpenPortalError
from openportal.paddington.config import (
    BRIDGE_HTTP_PORT,
    BRIDGE_URL,
    DEFAULT_KEY_ID,
    DEFAULT_ZONE,
    NOTIFICATION_URL,
    SIGNAL_URL,
    AgentConfig,
    AgentDefaults,
    BridgeKey,
    ClientPeer,
    IpRules,
    ServerPeer,
    check_address,
    check_key_id,
    check_moment,
    check_name,
    check_type,
    check_zone,
    checked_text,
    edit,
    load,
    web_url,
    websocket_url,
)
from openportal.paddington.ephemeral import KeyPair
from openportal.paddington.files import FILE_BYTES_MAX, read_text, write_private
from openportal.paddington.invite import LIFETIME, Invite, new_key
from openportal.paddington.keyring import key_tables
from openportal.paddington.secretstore import Form, looks_sealed, open_secret, password_of, seal_secret

__all__ = ["AgentDefaults", "attach", "config_path"]

AGENT_META = "openportal.agent"
PATH_META = "openportal.config_file"
PORT = click.IntRange(1, 65535)
FILE = click.Path(path_type=Path)
Peer = TypeVar("Peer", ClientPeer, ServerPeer)


def attach(group: click.Group, agent: AgentDefaults) -> None:
    """Put `-c/--config-file` and the shared words on an agent's group."""
    group.params.insert(0, _config_file_option(agent))
    for command in (client, server, extra, secret, encryption):
        group.add_command(command)
    if agent.agent == "Bridge":
        group.add_command(init_bridge)
        group.add_command(bridge)
    else:
        group.add_command(init)


def config_path(ctx: click.Context) -> Path:
    """The file that `-c/--config-file` names, or the agent's default one."""
    path: Path = ctx.meta[PATH_META]
    return path


def _config_file_option(agent: AgentDefaults) -> click.Option:
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


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order of the help."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _only_one(ctx: click.Context, **given: object) -> str | None:
    """The one action that was asked for; with none, the help is shown."""
    asked = [name for name, value in given.items() if _is_given(value)]
    if len(asked) > 1:
        raise click.UsageError(f"Give one of {', '.join('--' + name for name in given)}, not several.")
    if not asked:
        click.echo(ctx.get_help())
        return None
    return asked[0]


def _is_given(value: object) -> bool:
    """Whether an option stands on the command line; an empty text does."""
    return value is not None and value is not False


# ---- init -----------------------------------------------------------------------------------------------------------

_INIT = _options(
    click.option("-n", "--service", help="Name of this agent."),
    click.option("-u", "--url", help="URL at which its clients reach it."),
    click.option("-i", "--ip", help="Address to listen on.  [default: 127.0.0.1]"),
    click.option("-p", "--port", type=PORT, help="Port to listen on."),
    click.option("-k", "--healthcheck-port", type=PORT, help="Port of the health check; none without."),
    click.option("-x", "--proxy-header", help="Header that holds a client's address behind a proxy."),
    click.option("--trusted-proxy", help="Addresses whose proxy header is believed."),
    click.option("-f", "--force", is_flag=True, help="Replace a file that exists."),
)
_INIT_BRIDGE = _options(
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


# ---- client ---------------------------------------------------------------------------------------------------------


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
    action = _only_one(ctx, **{name: options[name] for name in ("add", "remove", "rotate")}, list=options["list_"])
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
        _append(_table(document, "service"), "clients", {**entry, "ip": rules, **fresh})
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
        entry = _table(document, "service")["clients"][index]
        entry.pop("next_keys", None)
        _put(entry, {**_keys(invite), "invite_expires": invite.expires})
        invite.save(invite.rotate_file)
    click.echo(f"The client {name} has new keys; they are in {invite.rotate_file}.")


def _invite(config: AgentConfig, zone: str, proxy: str | None, expires: str | None) -> Invite:
    """An invite of ours with new keys."""
    service, now = config.service, datetime.now(UTC).replace(microsecond=0)
    end = now + LIFETIME if expires is None else check_moment(expires)
    invite = Invite(service.name, service.url, zone, new_key(), new_key(), config.agent, proxy, end)
    invite.check_fresh(now)
    return invite


# ---- server ---------------------------------------------------------------------------------------------------------


@click.command("server", cls=Word, help="The agents that this one dials.")
@click.option("-a", "--add", type=FILE, metavar="FILE", help="Add the server that wrote this invite.")
@click.option("-r", "--remove", metavar="NAME", help="Remove a server.")
@click.option("-l", "--list", "list_", is_flag=True, help="List the servers.")
@click.option("-R", "--rotate", type=FILE, metavar="FILE", help="Take a server's new keys from this file.")
@click.option("-z", "--zone", help="Zone of the pair.")
@click.pass_context
def server(ctx: click.Context, /, **options: Any) -> None:
    action = _only_one(ctx, **{name: options[name] for name in ("add", "remove", "rotate")}, list=options["list_"])
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
        _append(_table(document, "service"), "servers", {**entry, **_keys(invite)})
    click.echo(f"The server {invite.name} is added.")


def _rotate_server(path: Path, file: Path, zone: str | None) -> None:
    invite = _read_invite(file, zone)
    with edit(path) as (document, config):
        index = _find(config.service.servers, "server", invite.name, invite.zone)
        _put(_table(document, "service")["servers"][index], _keys(invite))
    click.echo(f"The server {invite.name} has new keys.")


def _read_invite(file: Path, zone: str | None) -> Invite:
    invite = Invite.load(file)
    invite.check_fresh(datetime.now(UTC))
    if zone is not None and zone != invite.zone:
        raise ConfigError(f"{file} is for the zone {invite.zone!r}, not {zone!r}; leave --zone out or ask for another.")
    return invite


# ---- what clients and servers share ---------------------------------------------------------------------------------


def _remove_peer(path: Path, kind: str, name: str, zone: str | None) -> None:
    with edit(path) as (document, config):
        index = _find(getattr(config.service, kind), kind.removesuffix("s"), name, zone)
        _drop(_table(document, "service"), kind, index)
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


# ---- extra, secret, encryption --------------------------------------------------------------------------------------


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
        _put(_table(document, "extras"), {key: value})
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
        service = _table(document, "service")
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


# ---- bridge ---------------------------------------------------------------------------------------------------------


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
        if config is not None or any(map(_is_given, options.values())):
            raise click.UsageError("Give --remove-key alone.")
        _remove_key(path, remove_key)
    elif config is None and not any(map(_is_given, options.values())):
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
        table = _table(document, "bridge")
        ids = [key.id for key in _bridge_keys(config, path)]
        extra_ids = ids[1:] if "key" in table else ids
        if key_id in extra_ids:
            _put(table["keys"][extra_ids.index(key_id)], values)
        elif key_id == DEFAULT_KEY_ID:
            _put(_table(table, "key"), values)
        else:
            _append(table, "keys", {"id": key_id, **values})
    click.echo(f"The key {key_id} is {'new' if 'data' in values else 'changed'}.")


def _remove_key(path: Path, key_id: str) -> None:
    with edit(path) as (document, config):
        table = _table(document, "bridge")
        ids = [key.id for key in _bridge_keys(config, path)]
        extra_ids = ids[1:] if "key" in table else ids
        if key_id not in ids:
            raise ConfigError(f"There is no key {key_id!r}.")
        if len(ids) == 1:
            raise ConfigError(f"The key {key_id!r} is the only one; add another first, or make it anew.")
        if key_id in extra_ids:
            _drop(table, "keys", extra_ids.index(key_id))
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


# ---- the document ---------------------------------------------------------------------------------------------------


def _table(parent: MutableMapping[str, Any], key: str) -> Any:
    """A table of the document; made when it is not there."""
    if key not in parent:
        parent[key] = tomlkit.item({})
    return parent[key]


def _put(table: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    """Set entries of a table; of a table that is there already only what changes."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(table.get(key), MutableMapping):
            _put(table[key], value)
        else:
            table[key] = value


def _append(parent: MutableMapping[str, Any], key: str, values: Mapping[str, Any]) -> None:
    """One more table in a list of tables, whichever way the file spells the list."""
    entry = {name: value for name, value in values.items() if value is not None}
    existing = parent.get(key)
    if isinstance(existing, AoT):
        existing.append(tomlkit.item(entry))
    elif existing or isinstance(parent, InlineTable):
        parent[key] = [*(existing or []), entry]
    else:
        parent.pop(key, None)
        tables = tomlkit.aot()
        tables.append(tomlkit.item(entry))
        parent[key] = tables


def _drop(parent: MutableMapping[str, Any], key: str, index: int) -> None:
    """One table less. An empty list is written as such: today's agents insist on `servers` and `clients`."""
    del parent[key][index]
    if not parent[key]:
        del parent[key]
        parent[key] = []
