"""The configuration file: today's files are read to the letter, mistakes are sentences, keys are never shown."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.errors import ConfigError
from openportal.paddington.config import (
    DEFAULTS,
    IP_RULES_MAX,
    BridgeKey,
    ClientPeer,
    Encryption,
    IpRules,
    LedgerSection,
    MetricsSection,
    ServerPeer,
    edit,
    load,
    parse,
    web_url,
    websocket_url,
)
from openportal.paddington.peer import AGENT_TYPES

KEYS = [f"{n:02x}" * 32 for n in range(0xA1, 0xA5)]
EXAMPLE = f"""\
agent = "Instance"                 # Portal Provider Platform Instance Bridge Account Filesystem Scheduler

[service]
name = "shared"
url = "ws://127.0.0.1:9046/"
ip = "127.0.0.1"
port = 9046
# heathcheck_port (sic), proxy_header: optional; servers = [] and clients = [] when there are none

[[service.servers]]                # agents that we dial
name = "clusters"
url = "ws://127.0.0.1:9045/"
zone = "default"
[service.servers.inner_key]
data = "{KEYS[0]}"
[service.servers.outer_key]
data = "{KEYS[1]}"

[[service.clients]]                # agents that dial us
name = "acct"
zone = "default"
[service.clients.ip]
IP = "127.0.0.1"                   # or Range = "10.0.0.0/8"; since 0.91 also a plain comma-separated string
[service.clients.inner_key]
data = "{KEYS[2]}"
[service.clients.outer_key]
data = "{KEYS[3]}"

[extras]                           # string to string; secrets are hex (v0) or op-secret-v1:…
freeipa-server = "https://ipa.example.org"

[user_volumes.home]
roots = ["/home"]
subpath = "{{project}}/{{user}}"
permissions = "0755"
is_home = true
[project_volumes.projects]
roots = ["/projects"]
subpath = "{{project}}"
permissions = "2770"
"""
BRIDGE = f"""\
agent = "Bridge"
[service]
name = "bridge"
url = "ws://localhost:8044/"
ip = "127.0.0.1"
port = 8044
servers = []
clients = []
[bridge]
url = "http://localhost:3000/"
ip = "127.0.0.1"
port = 3000
signal_url = "http://localhost/signal"
[bridge.key]
data = "{KEYS[0]}"
"""
HERE = Path("/etc/openportal/shared-config.toml")


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def refused(text: str) -> str:
    """The sentence with which a text is refused; it must hold no key."""
    with pytest.raises(ConfigError) as caught:
        parse(text, HERE)
    sentence = str(caught.value)
    assert sentence.startswith(str(HERE))
    assert not any(key[:8] in sentence for key in KEYS)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return sentence.removeprefix(f"{HERE}")


# ---- today's files --------------------------------------------------------------------------------------------------


def test_the_documented_file() -> None:
    config = parse(EXAMPLE, HERE)
    assert (config.agent, config.path, config.encryption, config.bridge) == ("Instance", HERE, None, None)
    service = config.service
    assert (service.name, service.url, service.ip, service.port) == (
        "shared", "ws://127.0.0.1:9046/", "127.0.0.1", 9046,
    )  # fmt: skip
    assert (service.healthcheck_port, service.proxy_header, service.trusted_proxy) == (None, None, None)
    keys = [bytes.fromhex(key) for key in KEYS]
    assert service.servers == (ServerPeer("clusters", "default", "ws://127.0.0.1:9045/", keys[0], keys[1]),)
    assert service.clients == (ClientPeer("acct", "default", IpRules.parse("127.0.0.1"), keys[2], keys[3]),)
    assert config.extras == {"freeipa-server": "https://ipa.example.org"}
    assert config.tables == {k: tomllib.loads(EXAMPLE)[k] for k in ("user_volumes", "project_volumes")}
    assert config.ledger == LedgerSection(path=HERE.with_suffix(".ledger"))
    assert config.metrics == MetricsSection("127.0.0.1", None)


def test_load_reads_a_file_and_says_when_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.toml").write_text(EXAMPLE)
    monkeypatch.chdir(tmp_path)
    config = load("a.toml")
    assert config.path == tmp_path / "a.toml"
    assert config.ledger.path == tmp_path / "a.ledger"
    with pytest.raises(ConfigError, match=r"b\.toml does not exist"):
        load("b.toml")


def test_no_key_is_shown() -> None:
    for text in (EXAMPLE, BRIDGE):
        shown = repr(parse(text, HERE))
        assert not any(repr(bytes.fromhex(key))[2:-1] in shown or key in shown for key in KEYS)


def test_missing_lists_of_peers_mean_none() -> None:
    lines = [line for line in BRIDGE.splitlines() if "= []" not in line]
    service = parse("\n".join(lines), HERE).service
    assert (service.clients, service.servers) == ((), ())


@pytest.mark.parametrize("key", ["heathcheck_port", "healthcheck_port"])
def test_both_spellings_of_the_health_check(key: str) -> None:
    text = changed(BRIDGE, "servers = []", f'{key} = 8050\nproxy_header = "X-Real-IP"\ntrusted_proxy = "10.0.0.0/8"')
    service = parse(text, HERE).service
    assert (service.healthcheck_port, service.proxy_header) == (8050, "X-Real-IP")
    assert service.trusted_proxy == IpRules.parse("10.0.0.0/8")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('[service.encryption.Environment]\nkey = "OPSEC"\n', Encryption("Environment", "OPSEC")),
        ("[service.encryption.Simple]\n", Encryption("Simple")),
        ("[encryption.Simple]\n", Encryption("Simple")),
        ('[encryption]\nEnvironment = { key = "OPSEC" }\n', Encryption("Environment", "OPSEC")),
    ],
)
def test_encryption(table: str, expected: Encryption) -> None:
    assert parse(EXAMPLE + table, HERE).encryption == expected


def test_newer_fields() -> None:
    text = changed(
        EXAMPLE, "[service.servers.inner_key]", 'type = "Platform"\nproxy = "relay"\n[service.servers.inner_key]'
    )
    text = changed(text, 'IP = "127.0.0.1" ', 'List = ["127.0.0.1", "fd00::/8"]')
    text = changed(text, "[service.clients.ip]", 'type = "account"\n[service.clients.ip]')
    config = parse('trusted_proxy = "10.0.0.1"\n' + text, HERE)
    assert (config.service.servers[0].type, config.service.servers[0].proxy) == ("Platform", "relay")
    assert config.service.clients[0].type == "Account"
    assert str(config.service.clients[0].ip) == "127.0.0.1,fd00::/8"
    assert str(config.service.trusted_proxy) == "10.0.0.1"


def test_a_relayed_client_has_no_address() -> None:
    text = changed(EXAMPLE, '[service.clients.ip]\nIP = "127.0.0.1" ', 'proxy = "relay" ')
    assert parse(text, HERE).service.clients[0].ip is None


def test_a_plain_list_of_addresses() -> None:
    text = changed(EXAMPLE, '[service.clients.ip]\nIP = "127.0.0.1" ', 'ip = "127.0.0.1, 10.0.0.0/8" ')
    assert str(parse(text, HERE).service.clients[0].ip) == "127.0.0.1,10.0.0.0/8"


# ---- ours -----------------------------------------------------------------------------------------------------------


def test_a_bridge_of_today_has_one_key() -> None:
    bridge = parse(BRIDGE, HERE).bridge
    assert bridge is not None
    assert (bridge.url, bridge.ip, bridge.port) == ("http://localhost:3000/", "127.0.0.1", 3000)
    assert (bridge.signal_url, bridge.notification_url) == ("http://localhost/signal", None)
    assert bridge.keys == (BridgeKey("default", bytes.fromhex(KEYS[0])),)


def test_more_keys_of_a_bridge() -> None:
    text = (
        BRIDGE
        + f"""
[[bridge.keys]]
id = "reports"
data = "{KEYS[1]}"
verbs = ["get_usage_report", "get_users"]
destinations = ["brics.aip1", "brics.aip2.clusters"]
expires = 2030-01-31T12:00:00+01:00
[[bridge.keys]]
id = "utc"
data = "{KEYS[2]}"
verbs = []
expires = "2030-01-31 12:00:00"
"""
    )
    bridge = parse(text, HERE).bridge
    assert bridge is not None
    assert [key.id for key in bridge.keys] == ["default", "reports", "utc"]
    reports, utc = bridge.keys[1:]
    assert reports.verbs == ("get_usage_report", "get_users")
    assert reports.destinations == ("brics.aip1", "brics.aip2.clusters")
    assert reports.expires is not None
    assert reports.expires.utcoffset() == timedelta(hours=1)
    assert (utc.verbs, utc.destinations) == ((), None)
    assert utc.expires == datetime(2030, 1, 31, 12, tzinfo=UTC)


def test_ledger_and_metrics() -> None:
    def ledger(table: str) -> LedgerSection:
        return parse(f"{BRIDGE}[ledger]\n{table}\n", HERE).ledger

    assert ledger('path = "log"\ncommit = "thread"\ncheckpoint_every = 7') == LedgerSection(
        HERE.parent / "log", None, "thread", 7
    )
    assert ledger('path = "/var/log"').path == Path("/var/log")
    assert ledger('url = "postgresql://u:pw@h/db"') == LedgerSection(None, "postgresql://u:pw@h/db")
    assert "pw" not in repr(ledger('url = "postgresql://u:pw@h/db"'))
    metrics = parse(f'{BRIDGE}[metrics]\nip = "::1"\nport = 9100\n', HERE).metrics
    assert metrics == MetricsSection("::1", 9100)


# ---- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('agent = "Instance"', 'agent = "Sorcerer"', "agent: The agent type 'Sorcerer' is not one of Portal, Provider"),
        ('agent = "Instance"', 'agent = "Bridge"', "A bridge needs a [bridge] table"),
        ('agent = "Instance"', "", "agent is missing."),
        ("[service]", "[servant]", "service"),
        ('name = "shared"', 'name = "sha.red"', "service.name: The agent name 'sha.red' must be letters"),
        ('name = "shared"', "name = 7", "service.name must be text in quotes."),
        ('name = "shared"\n', "", "service.name is missing."),
        ('name = "acct"', 'name = "ac ct"', "service.clients[0].name: The agent name"),
        ('url = "ws://127.0.0.1:9046/"', 'url = "127.0.0.1:9046"', "service.url: '127.0.0.1:9046' is not a URL"),
        ('url = "ws://127.0.0.1:9045/"', 'url = "ws://u:pw@/"', "is not a URL"),
        ('ip = "127.0.0.1"', 'ip = "localhost"', "service.ip: 'localhost' is not an IP address"),
        ("port = 9046", "port = 0", "service.port is not right: input should be greater than or equal to 1."),
        ("port = 9046", "port = 65536", "service.port is not right: input should be less than or equal to 65535."),
        ("port = 9046", 'port = "9046"', "service.port"),
        ("port = 9046", "port = true", "service.port"),
        ('zone = "default"', 'zone = "a b"', "service.servers[0].zone: The zone 'a b' must be"),
        ('IP = "127.0.0.1"', 'IP = "127.0.0.300"', "service.clients[0].ip: '127.0.0.300' is not an IP address"),
        ('IP = "127.0.0.1"', 'Address = "127.0.0.1"', "An IP rule must be text, or a table with one of"),
        ("[service.clients.ip]\nIP", "x", "The client 'acct' has no ip"),
        (KEYS[0], KEYS[0][:-2], "service.servers[0].inner_key: A key must be 64 hexadecimal digits."),
        (KEYS[0], KEYS[0][:-1] + " ", "service.servers[0].inner_key: A key must be 64"),
        (KEYS[3], "0" * 64, "service.clients[0].outer_key: A key must not be all zeroes."),
        (f'data = "{KEYS[1]}"', "data = 5", "service.servers[0].outer_key: A key must be a table whose data"),
        ("[service.servers.outer_key]", "[service.servers.outer]", "service.servers[0].outer_key is missing."),
        ('name = "acct"', 'name = "clusters"', "The peer 'clusters' in the zone 'default' is in the file twice"),
        ('"https://ipa.example.org"', "4", "extras.freeipa-server must be text in quotes."),
        ("[extras]", "[service.encryption.Vault]", "The encryption must be a table Simple, or a table Environment"),
        ("[extras]", '[ledger]\ncommit = "later"\n[extras]', "ledger.commit is not right"),
        ("[extras]", "[ledger]\npath = 5\n[extras]", "ledger.path must be the name of a folder"),
        ("[extras]", "[ledger]\ncheckpoint_every = 0\n[extras]", "ledger.checkpoint_every"),
        ("[extras]", "[metrics]\nport = 99999\n[extras]", "metrics.port"),
        ("[service]", "[service", " is not a TOML file: look at the text at line 3, column 9."),
    ],
)
def test_a_mistake_is_a_sentence(old: str, new: str, says: str) -> None:
    assert says in refused(changed(EXAMPLE, old, new))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (f'[bridge.key]\ndata = "{KEYS[0]}"\n', "", "The bridge has no key"),
        ("[bridge.key]", "[[bridge.key]]", "[bridge.key] must be a table"),
        ("port = 3000", "port = 300000", "bridge.port"),
        ('"http://localhost/signal"', '"ws://localhost"', "bridge.signal_url"),
        (
            "[bridge.key]",
            f'[[bridge.keys]]\nid = "default"\ndata = "{KEYS[1]}"\n[bridge.key]',
            "The bridge key 'default'",
        ),
        ("[bridge.key]", f'[[bridge.keys]]\nid = "a b"\ndata = "{KEYS[1]}"\n[bridge.key]', "bridge.keys[1].id"),
        ("[bridge.key]", '[bridge.key]\nexpires = "soon"', "'soon' is not a date"),
    ],
)
def test_a_mistake_in_a_bridge_is_a_sentence(old: str, new: str, says: str) -> None:
    assert says in refused(changed(BRIDGE, old, new))


def test_several_mistakes_are_counted() -> None:
    assert "(2 more to correct)" in refused('agent = "Portal"\n[service]\nname = "a"\n')


def test_a_url_that_is_refused_does_not_show_its_password() -> None:
    assert "pw" not in refused(changed(EXAMPLE, "ws://127.0.0.1:9046/", "ftp://u:pw@h/"))


@pytest.mark.parametrize("text", ["", "a = " + "[" * 5000, "a = " + "9" * 5000, "x = 9999-99-99T99:99:99Z", "\x00"])
def test_odd_files(text: str) -> None:
    refused(text)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(deadline=None)
def test_any_bytes_raise_only_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-config.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        load(path)


SCALARS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12), st.integers(-(2**40), 2**40), st.booleans(),
    st.floats(allow_nan=False), st.datetimes(), st.sampled_from(["Portal", "ws://h:1/", "127.0.0.1", "ab" * 32]),
)  # fmt: skip
NAMES = st.sampled_from(
    ["agent", "service", "name", "url", "ip", "port", "zone", "servers", "clients", "inner_key", "outer_key",
     "data", "bridge", "key", "keys", "id", "extras", "encryption", "Environment", "Simple", "ledger", "path",
     "commit", "metrics", "verbs", "expires", "IP", "Range", "List", "trusted_proxy", "tables", "type", "proxy"]
)  # fmt: skip
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)


@given(st.dictionaries(NAMES, TREES, max_size=6), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_tables_raise_only_config_error(tree: dict[str, Any], whole: bool) -> None:
    data = tree if not whole else {**tomllib.loads(BRIDGE), **tree}
    try:
        config = parse(tomlkit.dumps(data), HERE)
    except ConfigError:
        return
    assert config.agent in AGENT_TYPES


# ---- IP rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "allowed", "others"),
    [
        ("1.2.3.4", ["1.2.3.4", "::ffff:1.2.3.4"], ["1.2.3.5", "::1.2.3.4", "::102:304"]),
        ("10.0.0.0/8", ["10.255.0.1", "::ffff:10.0.0.1"], ["11.0.0.1", "a00::1"]),
        ("10.1.2.3/8", ["10.0.0.1"], ["11.0.0.1"]),
        ("0.0.0.0/0", ["1.2.3.4", "255.255.255.255", "::ffff:1.2.3.4"], ["::1", "2001:db8::1"]),
        ("::/0", ["::1", "2001:db8::1"], ["1.2.3.4", "::ffff:1.2.3.4"]),
        ("2001:db8::/32", ["2001:db8:1::1"], ["2001:db9::1", "32.1.13.184"]),
        ("::ffff:1.2.3.4", ["1.2.3.4", "::ffff:1.2.3.4"], ["1.2.3.5"]),
        ("::ffff:10.0.0.0/104", ["10.9.9.9"], ["11.0.0.1"]),
        (" 1.2.3.4 ,fd00::/8, 10.0.0.0/8", ["1.2.3.4", "fd00::1", "10.0.0.1"], ["1.2.3.5", "fe80::1"]),
        ({"IP": "127.0.0.1"}, ["127.0.0.1"], ["127.0.0.2", "::1"]),
        ({"Range": "127.0.0.0/24"}, ["127.0.0.9"], ["127.0.1.1"]),
        ({"List": ["1.2.3.4", "fd00::/8"]}, ["1.2.3.4", "fd00::1"], ["1.2.3.5"]),
        ({"List": [{"IP": "1.2.3.4"}, {"Range": "fd00::/8"}]}, ["1.2.3.4", "fd00::1"], ["1.2.3.5"]),
    ],
)
def test_ip_rules(rule: Any, allowed: list[str], others: list[str]) -> None:
    rules = IpRules.parse(rule)
    assert [a for a in allowed if not rules.allows(a)] == []
    assert [a for a in [*others, "", "localhost", "1.2.3", "1.2.3.4/32"] if rules.allows(a)] == []
    assert IpRules.parse(rules.to_toml()) == rules == IpRules.parse(str(rules))


def test_the_stored_tables() -> None:
    assert IpRules.parse("1.2.3.4").to_toml() == {"IP": "1.2.3.4"}
    assert IpRules.parse("10.0.0.0/8").to_toml() == {"Range": "10.0.0.0/8"}
    assert IpRules.parse("1.2.3.4,::/0").to_toml() == {"List": ["1.2.3.4", "::/0"]}


@pytest.mark.parametrize(
    "value",
    ["", ",", "localhost", "1.2.3.4/33", "127.*.*.*", "::/129", 5, None, {}, {"IP": 5}, {"IP": ["1.2.3.4"]},
     {"List": "1.2.3.4"}, {"List": []}, {"List": [{"List": ["1.2.3.4"]}]}, {"List": [5]}, {"IP": "::", "Range": "::"}],
)  # fmt: skip
def test_bad_ip_rules(value: Any) -> None:
    with pytest.raises(ConfigError):
        IpRules.parse(value)


def test_a_bad_rule_is_named_and_a_long_one_refused() -> None:
    with pytest.raises(ConfigError, match=r"'10\.0\.0/8' is not"):
        IpRules.parse("1.2.3.4,10.0.0/8")
    with pytest.raises(ConfigError, match=f"at most {IP_RULES_MAX}"):
        IpRules.parse(",".join(["1.2.3.4"] * (IP_RULES_MAX + 1)))


@given(st.text(max_size=40), st.text(max_size=40))
@settings(deadline=None)
def test_any_rule_parses_or_is_refused(rule: str, address: str) -> None:
    try:
        IpRules.parse(rule).allows(address)
    except ConfigError:
        pass


# ---- URLs and defaults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("ws://localhost:8040", "ws://localhost:8040/"),
        ("http://localhost:8040/a", "ws://localhost:8040/a"),
        ("http://localhost", "ws://localhost"),
        ("https://portal.example.org:443/", "wss://portal.example.org"),
        ("wss://portal.example.org/agents", "wss://portal.example.org/agents"),
        ("WSS://Portal.Example.org:8443", "wss://portal.example.org:8443/"),
        ("ws://[::1]:8040", "ws://[::1]:8040/"),
    ],
)
def test_websocket_urls(url: str, stored: str) -> None:
    assert websocket_url(url) == stored == websocket_url(stored)


@pytest.mark.parametrize(
    ("url", "stored"),
    [("http://localhost:3000", "http://localhost:3000/"), ("http://localhost", "http://localhost/"),
     ("https://h/signal", "https://h/signal"), ("https://h:8443/a?b=c", "https://h:8443/a?b=c")],
)  # fmt: skip
def test_web_urls(url: str, stored: str) -> None:
    assert web_url(url) == stored == web_url(stored)


@pytest.mark.parametrize("url", ["", "localhost:8040", "ws://", "ws://h:99999", "ws://h:x", "ws://a b/", "ws://[::1"])
def test_bad_urls(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a URL"):
        websocket_url(url)
    with pytest.raises(ConfigError, match="is not a URL"):
        web_url(url)


def test_defaults_of_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/op")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert {name: defaults.port for name, defaults in DEFAULTS.items()} == {
        "portal": 8040, "provider": 8041, "bridge": 8044, "clusters": 8045, "cluster": 8046, "freeipa": 8046,
        "filesystem": 8047, "localaccount": 8047, "slurm": 8048,
    }  # fmt: skip
    assert {defaults.agent for defaults in DEFAULTS.values()} == set(AGENT_TYPES)
    assert DEFAULTS["slurm"].config_file == Path("/home/op/.config/openportal/slurm-config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/xdg")
    assert DEFAULTS["bridge"].config_file == Path("/xdg/openportal/bridge-config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert DEFAULTS["bridge"].config_file == Path("/home/op/.config/openportal/bridge-config.toml")


# ---- changing -------------------------------------------------------------------------------------------------------


def test_an_edit_keeps_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(EXAMPLE)
    with edit(path) as (document, config):
        assert config.service.port == 9046
        document["service"]["port"] = 9050
    assert path.read_text() == EXAMPLE.replace("port = 9046", "port = 9050")
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_edit_through_a_link_changes_the_file_itself(tmp_path: Path) -> None:
    path, link = tmp_path / "a.toml", tmp_path / "link.toml"
    path.write_text(EXAMPLE)
    link.symlink_to(path)
    with edit(link) as (document, _):
        document["extra"] = 1
    assert link.is_symlink()
    assert load(path).tables["extra"] == 1


def test_a_place_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (loop, tmp_path / "nul\0", "~nobody-of-that-name/a"):
        with pytest.raises(ConfigError), edit(path):
            pass
        with pytest.raises(ConfigError):
            load(path)


def test_an_edit_that_would_not_load_or_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(EXAMPLE)
    with pytest.raises(ConfigError, match="port"), edit(path) as (document, _):
        document["service"]["port"] = 0
    with pytest.raises(RuntimeError), edit(path) as (document, _):
        document["agent"] = "Portal"
        raise RuntimeError
    assert path.read_text() == EXAMPLE
    assert list(tmp_path.iterdir()) == [path]
