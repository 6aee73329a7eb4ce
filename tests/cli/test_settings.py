"""The shared words of the agents' commands, as operators' scripts use them."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from openportal.cli.settings import attach, config_path
from openportal.paddington.config import DEFAULTS, BridgeKey, load
from openportal.paddington.invite import Invite
from openportal.paddington.secretstore import V1_PREFIX, secret_of

Run = Callable[..., Result]
COMMENTS = "# kept by hand\n"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, a home of its own, and the usual umask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    old = os.umask(0o022)
    yield tmp_path
    os.umask(old)


def command(service: str) -> click.Group:
    @click.group(name=DEFAULTS[service].command)
    def group() -> None:
        pass

    @group.command("where")
    @click.pass_context
    def where(ctx: click.Context) -> None:
        click.echo(config_path(ctx))

    attach(group, DEFAULTS[service])
    return group


def run(service: str, *words: str, stdin: str | None = None, code: int = 0) -> Result:
    """One call of an agent's command with `<service>.toml` as its file."""
    result = CliRunner().invoke(command(service), ["-c", f"{service}.toml", *words], input=stdin)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def refused(service: str, *words: str, **kwargs: Any) -> str:
    """The one sentence on stderr with which a call is refused; the file must not change."""
    path = Path(f"{service}.toml")
    before = path.read_bytes() if path.exists() else None
    result = run(service, *words, code=1, **kwargs)
    assert (path.read_bytes() if path.exists() else None) == before
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").strip()


def usage(service: str, *words: str) -> str:
    return run(service, *words, code=2).stderr


def raw(service: str) -> dict[str, Any]:
    return tomllib.loads(Path(f"{service}.toml").read_text())


def private(path: str | Path) -> bool:
    return stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def introduced(dialled: str = "portal", dials: str = "provider", zone: tuple[str, ...] = ()) -> Path:
    """Two agents that know each other; returns the invite."""
    for service in (dialled, dials):
        run(service, "init")
    run(dialled, "client", "--add", dials, "--ip", "127.0.0.1", *zone)
    (invite,) = Path().glob(f"invite_{dialled}_*.toml")
    run(dials, "server", "--add", str(invite))
    return invite


# ---- the file -------------------------------------------------------------------------------------------------------


def test_the_file_is_the_default_one_or_the_given_one(place: Path) -> None:
    def where(*words: str) -> str:
        return CliRunner().invoke(command("portal"), [*words, "where"]).output.strip()

    assert where() == str(place / "home/.config/openportal/portal-config.toml")
    assert where("-c", "a.toml") == where("--config-file", "a.toml") == str(place / "a.toml")
    assert CliRunner().invoke(command("portal"), ["init"]).exit_code == 0
    assert private(where())
    assert load(where()).service.name == "portal"


def test_words_of_a_missing_or_broken_file(place: Path) -> None:
    for words in (["client", "-l"], ["server", "-l"], ["extra", "-k", "a", "-v", "b"], ["encryption", "-s"]):
        assert "portal.toml does not exist" in refused("portal", *words)
    Path("portal.toml").write_text("agent = [")
    assert "is not a TOML file" in refused("portal", "client", "-l")


def test_a_file_that_cannot_be_written_is_a_sentence() -> None:
    assert CliRunner().invoke(command("portal"), ["-c", "x" * 300, "init"]).exit_code == 1
    Path("file").write_text("")
    result = CliRunner().invoke(command("portal"), ["-c", "file/a.toml", "init"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


# ---- init -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [name for name in DEFAULTS if name != "bridge"])
def test_init_without_options(service: str) -> None:
    run(service, "init")
    port = DEFAULTS[service].port
    assert raw(service) == {
        "agent": DEFAULTS[service].agent,
        "service": {
            "name": service, "url": f"ws://localhost:{port}/", "ip": "127.0.0.1", "port": port,
            "servers": [], "clients": [],
        },
        "extras": {},
    }  # fmt: skip
    assert private(f"{service}.toml")


@pytest.mark.parametrize("short", [True, False])
def test_init_with_every_option(short: bool) -> None:
    pairs = {"-n/--service": "brics", "-u/--url": "https://h.example.org/op", "-i/--ip": "::", "-p/--port": "9000",
             "-k/--healthcheck-port": "9001", "-x/--proxy-header": "X-Real-IP"}  # fmt: skip
    words = [w for option, value in pairs.items() for w in (option.split("/")[0 if short else 1], value)]
    run("portal", "init", *words, "--trusted-proxy", "10.0.0.1,10.1.0.0/16")
    assert raw("portal")["service"] == {
        "name": "brics", "url": "wss://h.example.org/op", "ip": "::", "port": 9000, "heathcheck_port": 9001,
        "proxy_header": "X-Real-IP", "trusted_proxy": "10.0.0.1,10.1.0.0/16", "servers": [], "clients": [],
    }  # fmt: skip


def test_init_takes_the_port_into_the_default_url() -> None:
    run("portal", "init", "-p", "9000")
    assert raw("portal")["service"]["url"] == "ws://localhost:9000/"


def test_init_of_a_bridge() -> None:
    run("bridge", "init")
    bridge = raw("bridge")["bridge"]
    assert len(bytes.fromhex(bridge.pop("key")["data"])) == 32
    assert bridge == {
        "url": "http://localhost:3000/", "ip": "127.0.0.1", "port": 3000, "signal_url": "http://localhost/signal",
        "notification_url": "http://localhost/notification",
    }  # fmt: skip
    assert raw("bridge")["service"]["port"] == 8044


@pytest.mark.parametrize("short", [True, False])
def test_init_of_a_bridge_with_every_option(short: bool) -> None:
    pairs = {"-n/--service": "b", "-r/--bridge-url": "https://h/api", "-b/--bridge-ip": "0.0.0.0",
             "-q/--bridge-port": "3001", "-s/--signal-url": "https://p/s",
             "-N/--notification-url": "https://p/n"}  # fmt: skip
    words = [w for option, value in pairs.items() for w in (option.split("/")[0 if short else 1], value)]
    run("bridge", "init", *words)
    bridge = raw("bridge")["bridge"]
    del bridge["key"]
    assert bridge == {
        "url": "https://h/api", "ip": "0.0.0.0", "port": 3001, "signal_url": "https://p/s",
        "notification_url": "https://p/n",
    }  # fmt: skip


def test_init_keeps_a_file_unless_forced() -> None:
    run("portal", "init", "-n", "one")
    assert "exists; give --force" in refused("portal", "init", "-n", "two")
    for force, name in (("-f", "two"), ("--force", "three")):
        run("portal", "init", "-n", name, force)
        assert raw("portal")["service"]["name"] == name
    assert private("portal.toml")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-n", "my agent"], "agent name 'my agent'"),
        (["-n", "my.agent"], "agent name 'my.agent'"),
        (["-u", "localhost"], "is not a URL"),
        (["-i", "localhost"], "is not an IP address"),
        (["--trusted-proxy", "proxy"], "is not an IP address or a range"),
    ],
)
def test_init_refuses(words: list[str], says: str) -> None:
    assert says in refused("portal", "init", *words)
    assert not Path("portal.toml").exists()


def test_init_refuses_a_port_that_is_none() -> None:
    for option in ("-p", "-k"):
        assert "65535" in usage("portal", "init", option, "65536")
        assert "65535" in usage("portal", "init", option, "0")


# ---- clients and servers --------------------------------------------------------------------------------------------


def test_two_agents_are_introduced() -> None:
    invite = introduced()
    assert invite.name == "invite_portal_default.toml"
    assert private(invite)
    assert private("portal.toml")
    assert private("provider.toml")
    portal, provider = load("portal.toml").service, load("provider.toml").service
    (client,), (server,) = portal.clients, provider.servers
    assert (client.name, client.zone, str(client.ip), client.type) == ("provider", "default", "127.0.0.1", None)
    assert (server.name, server.zone, server.url) == ("portal", "default", "ws://localhost:8040/")
    assert server.type == "Portal"
    assert (client.inner_key, client.outer_key) == (server.inner_key, server.outer_key)
    assert client.inner_key != client.outer_key
    assert raw("provider")["service"]["clients"] == []
    assert raw("portal")["service"]["servers"] == []


def test_the_entries_are_what_todays_agents_read() -> None:
    introduced()
    (client,) = raw("portal")["service"]["clients"]
    assert set(client) == {"name", "zone", "ip", "inner_key", "outer_key", "invite_expires"}  # they skip the last one
    assert client["ip"] == {"IP": "127.0.0.1"}
    assert set(client["inner_key"]) == {"data"}
    (server,) = raw("provider")["service"]["servers"]
    assert set(server) == {"name", "zone", "url", "type", "inner_key", "outer_key"}
    invite = tomllib.loads(Path("invite_portal_default.toml").read_text())
    assert set(invite) == {"name", "url", "zone", "type", "inner_key", "outer_key", "expires"}


def test_an_invite_ends_in_a_week_unless_told_otherwise() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    invite = Invite.load(introduced())
    assert invite.expires is not None
    assert timedelta(days=7) <= invite.expires - before < timedelta(days=7, minutes=10)
    assert raw("portal")["service"]["clients"][0]["invite_expires"] == invite.expires
    run("portal", "client", "--rotate", "provider", "--expires", "2099-01-31T12:00Z")
    rotated = Invite.load("rotate_portal_default.toml")
    assert rotated.expires == datetime(2099, 1, 31, 12, tzinfo=UTC)
    assert raw("portal")["service"]["clients"][0]["invite_expires"] == rotated.expires


@pytest.mark.parametrize("word", ["--add", "--rotate"])
def test_an_expired_invite_is_refused_with_a_sentence(word: str) -> None:
    invite = introduced()
    old = replace(Invite.load(invite), expires=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    old.save(Path("old.toml"))
    words = "The invite of 'portal' expired on 2026-01-02 03:04 UTC; ask for another one, made with client --rotate."
    assert refused("provider", "server", word, "old.toml") == words


@pytest.mark.parametrize(
    ("time", "says"), [("2020-01-01", "expired on 2020-01-01"), ("soon", "'soon' is not a date and time")]
)
def test_an_invite_is_not_made_to_have_ended(time: str, says: str) -> None:
    run("portal", "init")
    assert says in refused("portal", "client", "-a", "x", "-i", "::1", "--expires", time)
    assert not list(Path().glob("invite_*"))


def test_rotating_by_hand_forgets_pairs_that_were_not_confirmed() -> None:
    introduced()
    path = Path("portal.toml")
    keys = ['{ data = "' + digits * 32 + '" }' for digits in ("11", "22")]
    pair = f"{{ inner_key = {keys[0]}, outer_key = {keys[1]} }}"
    kept, table = path.read_text(), f"next_keys = [{pair}]\nspent_keys = {pair}\n"
    path.write_text(kept.replace('name = "provider"\n', f'name = "provider"\n{table}'))
    run("portal", "client", "--rotate", "provider")
    (client,) = raw("portal")["service"]["clients"]
    assert "next_keys" not in client and "spent_keys" in client


def test_a_standby_pair_is_marked() -> None:
    run("portal", "init")
    run("portal", "client", "-a", "x", "-i", "10.0.0.0/8", "--standby")
    assert load("portal.toml").service.clients[0].standby is True


@pytest.mark.parametrize(
    ("ip", "stored"),
    [
        ("10.0.0.0/8", {"Range": "10.0.0.0/8"}),
        ("fd00::1", {"IP": "fd00::1"}),
        ("1.2.3.4,::/0", {"List": ["1.2.3.4", "::/0"]}),
    ],
)
def test_addresses_of_a_client(ip: str, stored: dict[str, Any]) -> None:
    run("portal", "init")
    run("portal", "client", "-a", "x", "-i", ip, "-z", "a<b>-1", "--type", "bridge")
    (client,) = raw("portal")["service"]["clients"]
    assert (client["ip"], client["zone"], client["type"]) == (stored, "a<b>-1", "Bridge")
    assert Invite.load("invite_portal_a<b>-1.toml").zone == "a<b>-1"


def test_lists_are_printed_as_today() -> None:
    introduced(zone=("-z", "z1"))
    for option in ("-l", "--list"):
        assert run("portal", "client", option).stdout == "ClientConfig { name: provider, ip: 127.0.0.1, zone: z1 }\n"
        assert run("provider", "server", option).stdout == (
            "ServerConfig { name: portal, url: ws://localhost:8040/, zone: z1 }\n"
        )
        assert run("provider", "client", option).stdout == ""


@pytest.mark.parametrize("option", ["-R", "--rotate"])
def test_rotation(option: str) -> None:
    introduced()
    old = load("portal.toml").service.clients[0]
    run("portal", "client", option, "provider")
    assert private("rotate_portal_default.toml")
    new = load("portal.toml").service.clients[0]
    assert old.inner_key != new.inner_key
    assert old.outer_key != new.outer_key
    assert load("provider.toml").service.servers[0].inner_key == old.inner_key
    run("provider", "server", option, "rotate_portal_default.toml")
    server = load("provider.toml").service.servers[0]
    assert (server.inner_key, server.outer_key, server.type) == (new.inner_key, new.outer_key, "Portal")


def test_rotation_needs_a_peer() -> None:
    invite = introduced()
    assert "There is no client 'nobody'." in refused("portal", "client", "-R", "nobody")
    assert "in the zone 'z'" in refused("portal", "client", "-R", "provider", "-z", "z")
    run("provider", "server", "-r", "portal")
    assert "There is no server 'portal'" in refused("provider", "server", "-R", str(invite))


@pytest.mark.parametrize("option", ["-r", "--remove"])
def test_removal(option: str) -> None:
    introduced()
    run("portal", "client", option, "provider")
    run("provider", "server", option, "portal")
    assert raw("portal")["service"]["clients"] == []
    assert raw("provider")["service"]["servers"] == []
    assert "There is no client 'provider'" in refused("portal", "client", option, "provider")
    assert "There is no server 'portal'" in refused("provider", "server", option, "portal")
    run("portal", "client", "-a", "provider", "-i", "::1")
    assert len(load("portal.toml").service.clients) == 1


def test_one_name_in_several_zones() -> None:
    run("portal", "init")
    for zone in ("a", "b"):
        run("portal", "client", "-a", "x", "-i", "::1", "-z", zone)
    assert "several clients 'x'; give --zone" in refused("portal", "client", "-r", "x")
    run("portal", "client", "-a", "x", "-i", "::1")
    run("portal", "client", "-r", "x")
    assert [c.zone for c in load("portal.toml").service.clients] == ["a", "b"]
    run("portal", "client", "-r", "x", "-z", "b")
    run("portal", "client", "-r", "x")
    assert load("portal.toml").service.clients == ()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-a", "x"], "Give --ip"),
        (["-a", "", "-i", "::1"], "agent name ''"),
        (["-a", "x y", "-i", "::1"], "agent name 'x y'"),
        (["-a", "x.y", "-i", "::1"], "agent name 'x.y'"),
        (["-a", "x", "-i", "here"], "'here' is not an IP address"),
        (["-a", "x", "-i", "::1", "-z", "a b"], "zone 'a b'"),
        (["-a", "x", "-i", "::1", "--type", "Robot"], "agent type 'Robot'"),
        (["-a", "x", "--proxy", "relay"], "The proxy 'relay' is not a server"),
        (["-a", "provider", "-i", "::1"], "There is a client 'provider' in the zone 'default' already"),
    ],
)
def test_client_refuses(words: list[str], says: str) -> None:
    invite = introduced()
    before = invite.read_bytes()
    assert says in refused("portal", "client", *words)
    assert [path.name for path in Path().glob("invite_*")] == [invite.name]
    assert invite.read_bytes() == before


def test_server_refuses() -> None:
    invite = introduced()
    assert "There is a server 'portal' in the zone 'default' already" in refused(
        "provider", "server", "-a", str(invite)
    )
    assert "is for the zone 'default', not 'z'" in refused("provider", "server", "-a", str(invite), "-z", "z")
    assert "does not exist" in refused("provider", "server", "-a", "none.toml")
    assert "name is missing" in refused("portal", "server", "-a", "portal.toml")


def test_a_relayed_pair() -> None:
    introduced()
    run("provider", "client", "-a", "far", "--proxy", "portal")
    assert raw("provider")["service"]["clients"][0]["proxy"] == "portal"
    assert Invite.load("invite_provider_default.toml").proxy == "portal"
    run("slurm", "init", "-n", "far")
    assert "The proxy 'portal' is not a server" in refused("slurm", "server", "-a", "invite_provider_default.toml")
    run("portal", "client", "-a", "far", "-i", "::1")
    run("slurm", "server", "-a", "invite_portal_default.toml")
    run("slurm", "server", "-a", "invite_provider_default.toml")
    assert [s.proxy for s in load("slurm.toml").service.servers] == [None, "portal"]


@pytest.mark.parametrize("word", ["client", "server", "encryption"])
def test_without_an_action_the_help_is_shown(word: str) -> None:
    run("portal", "init")
    assert "Options:" in run("portal", word).stdout


def test_two_actions_at_once_are_refused() -> None:
    assert "not several" in usage("portal", "client", "-l", "-r", "x")
    assert "not several" in usage("portal", "server", "-a", "f", "-r", "x")


def test_a_failed_invite_leaves_the_file_as_it_was() -> None:
    run("portal", "init")
    Path("invite_portal_default.toml").symlink_to("elsewhere")
    assert "symbolic link" in refused("portal", "client", "-a", "x", "-i", "::1")
    assert not Path("elsewhere").exists()


# ---- what an edit keeps ---------------------------------------------------------------------------------------------


def test_edits_keep_comments_unknown_tables_and_order() -> None:
    introduced()
    text = Path("portal.toml").read_text()
    text = COMMENTS + text.replace('ip = "127.0.0.1"\n', 'ip = "127.0.0.1"  # inside\nfuture = 1\n', 1)
    text += '\n[[later]]\nx = { y = 1 } # here\n\n[user_volumes.home]\nroots = ["/home"]\n'
    Path("portal.toml").write_text(text)
    run("portal", "encryption", "-s")
    for words in (
        ["client", "-a", "x", "-i", "::1"], ["client", "-R", "x"], ["client", "-r", "provider"],
        ["extra", "-k", "a", "-v", "b"], ["secret", "-k", "s", "-v", "t"], ["client", "-r", "x"],
    ):  # fmt: skip
        run("portal", *words)
    after = Path("portal.toml").read_text()
    assert after.startswith(COMMENTS)
    assert "# inside\nfuture = 1\n" in after
    assert "x = { y = 1 } # here" in after
    data = raw("portal")
    assert data["user_volumes"] == {"home": {"roots": ["/home"]}}
    assert data["service"]["clients"] == []
    assert data["extras"]["a"] == "b"
    assert private("portal.toml")


def test_inline_spellings_are_edited_too() -> None:
    peer = ", ".join(f'{name} = {{ data = "{"ab" * 32}" }}' for name in ("inner_key", "outer_key"))
    Path("portal.toml").write_text(
        'agent = "Portal"\nservice = { name = "p", url = "ws://h:1/", ip = "::1", port = 1, '
        f'servers = [], clients = [{{ name = "x", ip = "::1", {peer} }}] }}\n'
    )
    run("portal", "client", "-a", "y", "-i", "10.0.0.0/8")
    run("portal", "client", "-R", "x")
    run("portal", "encryption", "-e", "VAR")
    assert [c.name for c in load("portal.toml").service.clients] == ["x", "y"]
    assert load("portal.toml").service.clients[0].inner_key != bytes.fromhex("ab" * 32)
    run("portal", "client", "-r", "x")
    run("portal", "client", "-r", "y")
    assert raw("portal")["service"]["clients"] == []


def test_a_service_in_several_places() -> None:
    introduced()
    text = Path("portal.toml").read_text()
    head, tail = text.split("[[service.clients]]")
    peer, extras = tail.split("[extras]")
    Path("portal.toml").write_text(f"{head}[extras]{extras}\n[[service.clients]]{peer}")
    run("portal", "client", "-a", "x", "-i", "::1")
    run("portal", "client", "-R", "provider")
    run("portal", "encryption", "-s")
    assert [c.name for c in load("portal.toml").service.clients] == ["provider", "x"]
    assert load("portal.toml").encryption is not None
    run("portal", "client", "-r", "x")
    run("portal", "client", "-r", "provider")
    assert load("portal.toml").service.clients == ()


# ---- extra, secret, encryption --------------------------------------------------------------------------------------


def test_extra() -> None:
    run("slurm", "init")
    run("slurm", "extra", "-k", "sacct", "-v", "docker exec slurmctld sacct")
    run("slurm", "extra", "--key", "slurm-default-node", "--value", '{"cpus": 4}')
    run("slurm", "extra", "-k", "sacct", "-v", "-x")
    assert raw("slurm")["extras"] == {"sacct": "-x", "slurm-default-node": '{"cpus": 4}'}
    assert "not empty" in refused("slurm", "extra", "-k", " ", "-v", "x")
    for words in (["-k", "x"], ["-v", "x"]):
        assert "Missing option" in usage("slurm", "extra", *words)


def test_a_file_without_extras_gets_them() -> None:
    run("slurm", "init")
    Path("slurm.toml").write_text(Path("slurm.toml").read_text().replace("[extras]", ""))
    run("slurm", "extra", "-k", "a", "-v", "b")
    assert raw("slurm")["extras"] == {"a": "b"}


@pytest.mark.parametrize("option", ["-s", "--simple"])
def test_simple_encryption(option: str) -> None:
    run("freeipa", "init")
    assert "protects nothing" in run("freeipa", "encryption", option).stdout
    assert raw("freeipa")["service"]["encryption"] == {"Simple": {}}


@pytest.mark.parametrize("option", ["-e", "--environment"])
def test_encryption_by_a_variable(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run("freeipa", "init")
    run("freeipa", "encryption", option, "OPSEC")
    assert raw("freeipa")["service"]["encryption"] == {"Environment": {"key": "OPSEC"}}
    monkeypatch.delenv("OPSEC", raising=False)
    assert "variable OPSEC must hold" in refused("freeipa", "secret", "-k", "p", stdin="x")
    monkeypatch.setenv("OPSEC", "hunter2")
    run("freeipa", "secret", "-k", "p", stdin="x\n")
    assert secret_of(load("freeipa.toml"), "p") == "x"
    assert "name of a variable" in refused("freeipa", "encryption", option, "A=B")


def test_a_change_of_scheme_names_the_secrets_that_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    run("freeipa", "init")
    run("freeipa", "encryption", "-s")
    run("freeipa", "extra", "-k", "plain", "-v", "cafe")
    for key in ("one", "two"):
        run("freeipa", "secret", "-k", key, stdin="x")
    assert run("freeipa", "encryption", "-s").stderr == ""
    monkeypatch.setenv("OPSEC", "hunter2")
    assert "one, two." in run("freeipa", "encryption", "-e", "OPSEC").stderr
    run("freeipa", "secret", "-k", "one", stdin="x")
    result = run("freeipa", "encryption", "-e", "OPSEC")
    assert "two." in result.stderr
    assert "one" not in result.stderr
    assert raw("freeipa")["service"]["encryption"] == {"Environment": {"key": "OPSEC"}}


def test_encryption_at_the_top_level_is_moved() -> None:
    run("freeipa", "init")
    with Path("freeipa.toml").open("a") as file:
        file.write("[encryption.Simple]\n")
    run("freeipa", "encryption", "-e", "OPSEC")
    assert "encryption" not in raw("freeipa")
    assert load("freeipa.toml").encryption is not None


@pytest.mark.parametrize(
    ("words", "stdin", "plain"),
    [
        (["-v", "a b"], None, "a b"),
        (["--value", ""], None, ""),
        (["--value-file", "f"], None, "from a file\nof lines"),
        (["--value-file", "-"], "päss\r\n", "päss"),
        ([], "päss\n\n", "päss\n"),
        (["--form", "v0"], "x", "x"),
    ],
)
def test_secrets_from_everywhere(words: list[str], stdin: str | None, plain: str) -> None:
    Path("f").write_text("from a file\nof lines\n")
    run("freeipa", "init")
    run("freeipa", "encryption", "-s")
    result = run("freeipa", "secret", "-k", "p", *words, stdin=stdin)
    assert ("Warning: --value shows" in result.stderr) == (words[:1] in (["-v"], ["--value"]))
    stored = raw("freeipa")["extras"]["p"]
    assert bytes.fromhex(stored)
    assert secret_of(load("freeipa.toml"), "p") == plain


def test_secrets_in_form_v1() -> None:
    run("freeipa", "init")
    run("freeipa", "encryption", "-s")
    run("freeipa", "secret", "-k", "p", "--form", "v1", stdin="x")
    assert raw("freeipa")["extras"]["p"].startswith(V1_PREFIX)
    assert secret_of(load("freeipa.toml"), "p") == "x"


def test_secret_refuses() -> None:
    run("freeipa", "init")
    sentence = refused("freeipa", "secret", "-k", "p", stdin="TopSecret")
    assert "No encryption is chosen" in sentence
    run("freeipa", "encryption", "-s")
    assert "TopSecret" not in sentence
    assert "does not exist" in refused("freeipa", "secret", "-k", "p", "--value-file", "none")
    assert "not both" in usage("freeipa", "secret", "-k", "p", "-v", "x", "--value-file", "f")
    assert "Missing option" in usage("freeipa", "secret", "-v", "x")


# ---- bridge ---------------------------------------------------------------------------------------------------------


def keys() -> dict[str, BridgeKey]:
    config = load("bridge.toml").bridge
    assert config is not None
    return {key.id: key for key in config.keys}


@pytest.fixture
def bridge() -> None:
    run("bridge", "init")


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize("option", ["-c", "--config"])
def test_the_clients_file(option: str) -> None:
    before = raw("bridge")
    run("bridge", "bridge", option, "client.toml")
    assert raw("client") == {"url": "http://localhost:3000/", "key": {"data": keys()["default"].key.hex()}}
    assert private("client.toml")
    assert raw("bridge") == before


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize("option", ["-r", "--regenerate"])
def test_a_new_key(option: str) -> None:
    old = keys()["default"]
    run("bridge", "bridge", option)
    assert keys()["default"].key != old.key
    assert set(raw("bridge")["bridge"]) == {"url", "ip", "port", "signal_url", "notification_url", "key"}
    run("bridge", "bridge", option, "-c", "client.toml")
    assert raw("client")["key"]["data"] == keys()["default"].key.hex()


@pytest.mark.usefixtures("bridge")
def test_several_keys() -> None:
    default = keys()["default"]
    run("bridge", "bridge", "--key-id", "reports", "--verbs", "get_users, get_usage_report", "-c", "client.toml")
    run("bridge", "bridge", "--key-id", "ops", "--destinations", "brics.aip1,brics.aip2")
    assert list(keys()) == ["default", "reports", "ops"]
    assert keys()["default"] == default
    reports, ops = keys()["reports"], keys()["ops"]
    assert raw("client")["key"]["data"] == reports.key.hex()
    assert (reports.verbs, reports.destinations, reports.expires) == (("get_users", "get_usage_report"), None, None)
    assert (ops.verbs, ops.destinations) == (None, ("brics.aip1", "brics.aip2"))
    assert len({reports.key, ops.key, default.key}) == 3

    run("bridge", "bridge", "--key-id", "ops", "--verbs", "get_users", "--expires", "2030-01-31T12:00:00Z")
    assert keys()["ops"].key == ops.key
    assert keys()["ops"].expires is not None
    assert keys()["ops"].destinations == ops.destinations
    run("bridge", "bridge", "-r", "--key-id", "ops")
    assert keys()["ops"].key != ops.key
    assert keys()["ops"].verbs == ("get_users",)

    run("bridge", "bridge", "--remove-key", "reports")
    assert list(keys()) == ["default", "ops"]
    run("bridge", "bridge", "--remove-key", "default")
    assert list(keys()) == ["ops"]
    assert "is the only one" in refused("bridge", "bridge", "--remove-key", "ops")
    run("bridge", "bridge", "--key-id", "default")
    assert list(keys()) == ["default", "ops"]
    run("bridge", "bridge", "--remove-key", "ops")
    assert raw("bridge")["bridge"]["keys"] == []


@pytest.mark.usefixtures("bridge")
def test_the_first_key_can_be_restricted() -> None:
    old = keys()["default"]
    run("bridge", "bridge", "--verbs", "get_users")
    assert keys()["default"] == BridgeKey("default", old.key, ("get_users",))


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--key-id", "default"], "There is a key 'default' already"),
        (["--key-id", "none", "-r"], "There is no key 'none' to make anew"),
        (["--key-id", ""], "The key id ''"),
        (["--key-id", "a b"], "The key id 'a b'"),
        (["--key-id", "k", "--verbs", " , "], "Give --verbs at least one entry"),
        (["--key-id", "k", "--verbs", ""], "Give --verbs at least one entry"),
        (["--key-id", "k", "--destinations", ""], "Give --destinations at least one entry"),
        (["--key-id", "k", "--expires", "soon"], "'soon' is not a date"),
        (["--remove-key", "none"], "There is no key 'none'"),
    ],
)
def test_bridge_refuses(words: list[str], says: str) -> None:
    assert says in refused("bridge", "bridge", *words)


@pytest.mark.usefixtures("bridge")
def test_bridge_usage() -> None:
    assert "Options:" in run("bridge", "bridge").stdout
    assert "alone" in usage("bridge", "bridge", "--remove-key", "a", "-r")
    assert "No such command" in usage("portal", "bridge")
    run("portal", "init")
    Path("bridge.toml").write_bytes(Path("portal.toml").read_bytes())
    assert "has no [bridge] table" in refused("bridge", "bridge", "-r")


@pytest.mark.usefixtures("bridge")
def test_a_bridge_has_the_other_words() -> None:
    run("bridge", "encryption", "-s")
    run("bridge", "secret", "-k", "s", stdin="x")
    run("bridge", "client", "-a", "x", "-i", "::1")
    assert load("bridge.toml").service.clients[0].name == "x"
    assert secret_of(load("bridge.toml"), "s") == "x"
