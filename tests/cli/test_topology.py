"""Who is whose peer: what is refused, and what follows for every host."""

from __future__ import annotations

from typing import Any

import pytest

from openportal.cli.topology import Pair, Topology
from openportal.errors import ConfigError
from tests.cli.sites import ADDRESSES, SITE, changed

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"aip1": {"kind": "provider", "host": "s", "under": "nobody"}}, "aip1: there is no agent 'nobody'"),
    ({"aip1": {"kind": "provider", "host": "s"}}, "aip1: say which portal this provider is under"),
    ({"acct": {"kind": "account", "host": "n", "under": "aip1"}}, "account agents are under instance, and aip1"),
    ({"acct": {"kind": "account", "host": "nowhere", "under": "shared"}}, "no host 'nowhere' in the inventory"),
    ({"acct2": {"kind": "account", "host": "s", "under": "shared"}}, "shared: it has 2 account agents under it"),
    ({"gpu": {"kind": "instance", "host": "s", "under": "clusters"}}, "takes port 9046 of s already"),
    ({"fs": {"kind": "filesystem", "host": "n", "under": ["shared", "shared"]}}, "under shared in the zone defau"),
    ({"other": {"kind": "platform", "host": "n", "under": "aip1"}}, "nobody is under this platform"),
    ({"acct": {"kind": "accounts", "host": "n"}}, "the kind 'accounts' is not one of"),
    ({"acct": {"kind": "account", "host": "n", "under": "shared", "system": "ldap"}}, "the system 'ldap' of a account"),
    ({"acct": {"kind": "account", "host": "n", "undr": "shared"}}, "'undr' is not one of kind"),
    ({"acct": {"kind": "account", "under": "shared"}}, "say on which host it runs"),
    ({"acct": {"kind": "account", "host": "n", "under": 3}}, "under must be the name of an agent"),
    ({"acct": {"kind": "account", "host": "n", "under": ["shared", 3]}}, "under must be the name of an agent"),
    ({"acct": {"kind": "account", "host": "n", "under": "shared", "port": 0}}, "port must be a number between"),
    ({"acct": {"kind": "account", "host": "n", "under": "shared", "settings": {"extras": 3}}}, "settings must be tab"),
    ({"a.b": {"kind": "portal", "host": "p"}}, "'a.b' must be letters"),
    ({"acct": []}, "acct: it must be a table"),
    ({3: {"kind": "portal", "host": "p"}}, "3: the name of an agent must be text"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), WRONG, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_refused_with_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Topology.declared(changed(change), ADDRESSES)
    assert sentence in str(refused.value)


def test_all_mistakes_are_told_at_once() -> None:
    wrong = changed({"acct": {"kind": "account", "host": "nowhere", "under": "nobody"}, "x": 3})
    with pytest.raises(ConfigError) as refused:
        Topology.declared(wrong, {**ADDRESSES, "s": "site.example.org"})
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["x", "aip1", "clusters", "shared", "slurm", "acct", "acct"]
    assert "needs openportal_address, an IP address; it has 'site.example.org'" in str(refused.value)


@pytest.mark.parametrize("agents", [None, {}, [], "x"])
def test_no_agents_are_refused(agents: object) -> None:
    with pytest.raises(ConfigError, match="must be a table of agents"):
        Topology.declared(agents, ADDRESSES)


def test_too_many_agents_are_refused() -> None:
    with pytest.raises(ConfigError, match="1001 agents; at most 1000"):
        Topology.declared({f"a{n}": {} for n in range(1001)}, ADDRESSES)


@pytest.fixture
def topology() -> Topology:
    return Topology.declared(SITE, ADDRESSES)


def agent(topology: Topology, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in topology.plan(topology.members[name].host)["agents"] if each["name"] == name
    )
    return found


def test_who_serves_only_its_own_host_listens_there_only(topology: Topology) -> None:
    aip1 = agent(topology, "aip1")
    assert aip1["service"] == {"name": "aip1", "url": "ws://127.0.0.1:8041/", "ip": "127.0.0.1", "port": 8041}
    assert aip1["clients"] == [{"name": "clusters", "zone": "default", "type": "Platform", "ip": "127.0.0.1"}]


def test_who_serves_other_hosts_listens_for_those_alone(topology: Topology) -> None:
    shared = agent(topology, "shared")
    assert (shared["service"]["ip"], shared["service"]["url"]) == ("10.0.0.2", "ws://10.0.0.2:8046/")
    assert {client["name"]: client["ip"] for client in shared["clients"]} == {
        "acct": "10.0.0.3",
        "fs": "10.0.0.3",
        "slurm": "10.0.0.2",
    }


def test_who_dials_and_who_listens_agree(topology: Topology) -> None:
    """Every pair is in two plans, with the same zone, and each says of the other what that is."""
    for pair in topology.pairs():
        listener, dialler = agent(topology, pair.listener), agent(topology, pair.dialler)
        (client,) = [c for c in listener["clients"] if (c["name"], c["zone"]) == (pair.dialler, pair.zone)]
        (server,) = [s for s in dialler["servers"] if (s["name"], s["zone"]) == (pair.listener, pair.zone)]
        assert (client["type"], server["type"]) == (dialler["agent"], listener["agent"])
        assert server["url"] == listener["service"]["url"]


def test_an_address_of_the_new_kind_is_put_in_brackets() -> None:
    found = Topology.declared(SITE, {**ADDRESSES, "s": "fd00::2"})
    assert agent(found, "shared")["service"]["url"] == "ws://[fd00::2]:8046/"


def test_a_zone_is_named_behind_the_agent() -> None:
    zoned = Topology.declared(changed({"aip1": {"kind": "provider", "host": "s", "under": ["brics", "b2@two"]},
                                       "b2": {"kind": "portal", "host": "n"}}), ADDRESSES)  # fmt: skip
    assert Pair("b2", "aip1", "two") in zoned.pairs()
    assert Pair("brics", "aip1", "default") in zoned.pairs()


def test_commands_and_systems(topology: Topology) -> None:
    commands = {name: member.command for name, member in topology.members.items()}
    assert commands == {
        "brics": "op-portal", "bridge": "op-bridge", "aip1": "op-provider", "clusters": "op-clusters",
        "shared": "op-cluster", "acct": "op-localaccount", "fs": "op-filesystem", "slurm": "op-slurm",
    }  # fmt: skip
    assert {name for name, member in topology.members.items() if member.is_root} == {"acct", "fs"}
    assert agent(topology, "slurm")["tables"]["extras"] == {"sandbox": "/var/lib/openportal/slurm/sandbox"}
    assert "extras" not in agent(topology, "acct")["tables"]


def test_further_tables_of_a_file(topology: Topology) -> None:
    assert agent(topology, "fs")["tables"]["user_volumes"] == {"home": {"roots": ["/home"]}}
    assert agent(topology, "bridge")["tables"]["bridge"]["port"] == 3000


def test_a_port_moves_that_of_the_metrics() -> None:
    gpu = {"gpu": {"kind": "instance", "host": "s", "under": "clusters", "port": 8056}}
    assert agent(Topology.declared(changed(gpu), ADDRESSES), "gpu")["tables"]["metrics"]["port"] == 9056


def test_paths_of_a_bridge(topology: Topology) -> None:
    assert agent(topology, "bridge")["paths"] == ["brics.aip1.clusters.shared"]
    assert agent(topology, "brics")["paths"] == []


# --- introductions ----------------------------------------------------------------------------------------------------


def looks(topology: Topology, **differing: str) -> dict[str, Any]:
    """What the hosts hold if every pair has its keys, but for the fingerprints that are given by dialler."""
    found: dict[str, Any] = {host: {"box": f"box of {host}", "pairs": {}} for host in ADDRESSES}
    for pair in topology.pairs():
        host, guest = topology.members[pair.listener].host, topology.members[pair.dialler].host
        found[host]["pairs"].setdefault(str(pair), {})["listener"] = "1"
        found[guest]["pairs"].setdefault(str(pair), {})["dialler"] = differing.get(pair.dialler, "1")
    return found


def introduced(topology: Topology, looks: dict[str, Any], anew: bool = False) -> list[str]:
    return [each["pair"] for each in topology.introductions(looks, anew)]


def test_pairs_with_keys_are_left_alone(topology: Topology) -> None:
    assert introduced(topology, looks(topology)) == []
    assert len(introduced(topology, looks(topology), anew=True)) == 7


def test_bare_hosts_are_introduced(topology: Topology) -> None:
    bare = {host: {"box": f"box of {host}", "pairs": {}} for host in ADDRESSES}
    found = topology.introductions(bare)
    assert len(found) == 7
    assert {"pair": "shared<acct@default", "host": "s", "guest": "n", "box": "box of n"} in found


def test_keys_that_differ_are_made_anew(topology: Topology) -> None:
    assert introduced(topology, looks(topology, acct="2")) == ["shared<acct@default"]


def test_a_pair_of_which_one_host_was_not_looked_at_is_left_alone(topology: Topology) -> None:
    some = looks(topology, acct="2", aip1="2")
    del some["n"]
    assert introduced(topology, some) == ["brics<aip1@default"]
    assert introduced(topology, some, anew=True) == [
        "aip1<clusters@default", "brics<aip1@default", "brics<bridge@default", "clusters<shared@default",
        "shared<slurm@default",
    ]  # fmt: skip


# --- databases, watchers, openings ------------------------------------------------------------------------------------


def test_a_ledger_in_postgresql_is_a_database_of_the_agents_own() -> None:
    site = Topology.declared(changed({"shared": {**SITE["shared"], "ledger": "postgresql"}}), ADDRESSES)
    ledgers = {agent["name"]: agent["tables"]["ledger"] for agent in site.plan("s")["agents"]}
    assert ledgers["shared"] == {
        "url": "postgresql://op-shared@/op-shared?host=/var/run/postgresql",
        "path": "/var/lib/openportal/shared/run",  # of its operators' socket
    }
    assert ledgers["aip1"] == {"path": "/var/lib/openportal/aip1/ledger"}
    with pytest.raises(ConfigError, match="shared: the ledger 'oracle' is not one of sqlite, postgresql"):
        Topology.declared(changed({"shared": {**SITE["shared"], "ledger": "oracle"}}), ADDRESSES)


def test_only_peers_on_other_hosts_reach_an_agent() -> None:
    site = Topology.declared(SITE, ADDRESSES)
    assert site.openings("p") == [{"agent": "brics", "port": 8040, "sources": ["10.0.0.2"]}]
    assert site.openings("s") == [{"agent": "shared", "port": 8046, "sources": ["10.0.0.3"]}]
    assert site.openings("n") == []


def test_behind_a_reverse_proxy_it_is_not_ours_to_say_who_comes() -> None:
    proxied = changed({"brics": {**SITE["brics"], "url": "wss://portal.example.org/"}})
    assert Topology.declared(proxied, ADDRESSES).openings("p") == []


def test_whoever_watches_reaches_the_metrics() -> None:
    site = Topology.declared(SITE, ADDRESSES, "p")
    metrics = {
        agent["name"]: agent["tables"]["metrics"]["ip"] for host in ADDRESSES for agent in site.plan(host)["agents"]
    }
    assert {name for name, ip in metrics.items() if ip == "127.0.0.1"} == {"brics", "bridge"}
    assert metrics["acct"] == ADDRESSES["n"]
    assert {opening["agent"]: opening["sources"] for opening in site.openings("n")} == {
        "acct": [ADDRESSES["p"]], "fs": [ADDRESSES["p"]],
    }  # fmt: skip
    targets = {target["labels"]["instance"]: target for target in site.targets()}
    assert set(targets) == set(SITE)
    assert targets["acct"] == {
        "targets": ["10.0.0.3:9047"], "labels": {"instance": "acct", "kind": "account", "host": "n"},
    }  # fmt: skip
    assert targets["brics"]["targets"] == ["127.0.0.1:9040"]


def test_whoever_watches_is_a_host() -> None:
    with pytest.raises(ConfigError, match="openportal_monitor: 'x' must be a host of the inventory"):
        Topology.declared(SITE, ADDRESSES, "x")
