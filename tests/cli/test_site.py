"""What a rollout does on hosts: files that say what the plan says, and keys that only two hosts ever see."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openportal.cli.site import HEADER, Host
from openportal.cli.topology import Topology
from openportal.errors import ConfigError, SecretError
from openportal.paddington.config import edit, load
from openportal.paddington.ephemeral import KeyPair
from openportal.paddington.keyring import Keyring, Standing
from openportal.paddington.peer import Peer
from openportal.paddington.secretstore import secret_of
from tests.cli.sites import ADDRESSES, SITE, changed
from tests.facility.secrets_seen import secrets_in

WEEK = timedelta(days=7)


class Site:
    """The hosts of a topology, each a folder, and a rollout over them that carries what they answer."""

    def __init__(self, folder: Path, agents: Mapping[Any, Any]) -> None:
        self.folder = folder
        agents = {**agents, "bridge": {**agents["bridge"], "client_file": str(folder / "client.toml")}}
        self.topology = Topology.declared(agents, ADDRESSES)
        self.hosts = {name: self._host(name) for name in ADDRESSES}
        self.carried: list[Any] = []

    def _host(self, name: str) -> Host:
        (self.folder / name).mkdir(exist_ok=True)
        return Host(self.folder / name, self.topology.plan(name), self.folder / f"{name}.box")

    def roll_out(self, anew: bool = False) -> list[str]:
        """Returns the agents whose file changed."""
        changed = [agent for host in self.hosts.values() for agent in host.configure()]
        for host in self.hosts.values():
            host.open_box()
        wanted = self.topology.introductions({name: host.look() for name, host in self.hosts.items()}, anew)
        sealed: dict[str, str] = {}
        for name, host in self.hosts.items():
            sealed |= host.invite([each for each in wanted if each["host"] == name])
        for name, host in self.hosts.items():
            mine = [each["pair"] for each in wanted if each["guest"] == name]
            changed += host.accept({pair: sealed[pair] for pair in mine}) if mine else []
        self.carried += [wanted, sealed, [host.look() for host in self.hosts.values()]]
        return sorted(set(changed))

    def files(self) -> dict[str, dict[str, Any]]:
        return {path.stem: tomllib.loads(path.read_text()) for path in self.folder.glob("?/*.toml")}

    def secrets(self) -> set[str]:
        return set(secrets_in(list(self.files().values())))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, SITE)


def test_every_file_can_be_run_and_all_agree(site: Site) -> None:
    assert site.roll_out() == sorted(SITE)
    configs = {path.stem: load(path) for path in site.folder.glob("?/*.toml")}
    assert set(configs) == set(SITE)
    for config in configs.values():
        for server in config.service.servers:
            other = configs[server.name].service
            (me,) = [client for client in other.clients if client.name == config.service.name]
            assert (server.inner_key, server.outer_key, server.url) == (me.inner_key, me.outer_key, other.url)
            assert (server.type, me.type) == (configs[server.name].agent, config.agent)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in site.folder.glob("?/*.toml"))


def test_a_second_rollout_changes_nothing(site: Site) -> None:
    site.roll_out()
    before = site.files()
    assert site.roll_out() == []
    assert site.files() == before


def test_what_is_carried_holds_no_key(site: Site) -> None:
    site.roll_out()
    site.roll_out(anew=True)
    assert len(site.secrets()) == 15
    assert [key for key in site.secrets() if key in str(site.carried)] == []


def first_contact(site: Site, confirmed: bool) -> KeyPair:
    """brics and aip1 meet and agree on other keys than those of the invite, as their links do; returns these keys."""
    listener, dialler = site.folder / "p/brics.toml", site.folder / "s/aip1.toml"
    with edit(listener) as (document, config):
        at = [client.name for client in config.service.clients].index("aip1")
        document["service"]["clients"][at]["invite_expires"] = datetime.now(UTC).replace(microsecond=0) + WEEK
    agreed = KeyPair(bytes(range(32)), bytes(range(32, 64)))
    accepting = Keyring(load(listener).service, listener)
    candidates = [each for each in accepting.candidates() if each.name == "aip1"]
    assert accepting.welcome(candidates[0], agreed)
    Keyring(load(dialler).service, dialler).adopt(Peer("brics", "default"), agreed)
    if confirmed:
        (new,) = [each for each in accepting.candidates() if each.name == "aip1" and each.standing is Standing.NEXT]
        assert not accepting.welcome(new, None)
    return agreed


def test_keys_that_two_agents_agreed_on_stay(site: Site) -> None:
    """And with them the mark of the invite that was used up: whoever comes with a copy of it is still found out."""
    site.roll_out()
    invited = site.files()["aip1"]["service"]["servers"][0]["inner_key"]["data"]
    agreed = first_contact(site, confirmed=True)
    before = site.files()
    assert site.roll_out() == []
    assert site.files() == before
    (client,) = [each for each in before["brics"]["service"]["clients"] if each["name"] == "aip1"]
    assert client["inner_key"]["data"] == agreed.inner_key.hex()
    assert client["spent_keys"]["inner_key"]["data"] == invited


def test_a_host_alone_does_not_forget_keys_that_a_peer_may_come_back_with(site: Site) -> None:
    site.roll_out()
    first_contact(site, confirmed=False)
    before = site.files()
    assert site.hosts["p"].configure() == []
    assert site.files() == before


def test_an_introduction_in_the_middle_of_a_first_contact_replaces_it(site: Site) -> None:
    site.roll_out()
    first_contact(site, confirmed=False)
    assert site.roll_out() == ["aip1"]
    files = site.files()
    (client,) = [each for each in files["brics"]["service"]["clients"] if each["name"] == "aip1"]
    assert client["inner_key"] == files["aip1"]["service"]["servers"][0]["inner_key"]
    assert {"next_keys", "spent_keys", "invite_expires"} & set(client) == set()


def test_new_keys_for_all_pairs(site: Site) -> None:
    site.roll_out()
    before = site.secrets()
    assert site.roll_out(anew=True) == sorted(set(SITE) - {"brics"})  # who only listens changed when it invited
    assert len(site.secrets() & before) == 1  # the bridge's


def test_a_look_without_changes(site: Site) -> None:
    names = [name for host in site.hosts.values() for name in host.configure(check=True)]
    assert sorted(names) == sorted(SITE)
    assert site.files() == {}
    site.roll_out()
    assert [host.configure(check=True) for host in site.hosts.values()] == [[], [], []]


def test_a_rollout_that_was_interrupted_is_made_good(site: Site) -> None:
    """The invites were written down and never arrived."""
    for host in site.hosts.values():
        host.configure()
        host.open_box()
    wanted = site.topology.introductions({name: host.look() for name, host in site.hosts.items()})
    for name, host in site.hosts.items():
        host.invite([each for each in wanted if each["host"] == name])
    assert set(site.roll_out()) == set(SITE) - {"brics"}  # who only listens
    assert site.roll_out() == []


def test_a_host_that_was_lost_is_introduced_again(site: Site) -> None:
    site.roll_out()
    for path in (site.folder / "n").glob("*.toml"):
        path.unlink()
    assert set(site.roll_out()) == {"acct", "fs"}
    assert site.roll_out() == []


def test_an_agent_that_moves_takes_its_peers_along(site: Site, tmp_path: Path) -> None:
    site.roll_out()
    moved = Site(tmp_path, changed({"slurm": {**SITE["slurm"], "host": "n"}}))
    assert set(moved.roll_out()) == {"slurm", "shared"}
    assert not (tmp_path / "s/slurm.toml").exists()
    assert moved.files()["slurm"]["service"]["servers"][0]["url"] == "ws://10.0.0.2:8046/"
    assert moved.roll_out() == []


def test_files_of_others_are_left_alone(site: Site) -> None:
    other = site.folder / "s" / "other.toml"
    other.write_text('agent = "Portal"\n')
    site.roll_out()
    assert other.exists()
    other.write_text(HEADER + 'agent = "Portal"\n')
    assert "other" in site.roll_out()
    assert not other.exists()


def test_a_peer_that_is_no_more_is_taken_out(site: Site, tmp_path: Path) -> None:
    site.roll_out()
    fewer = Site(tmp_path, {name: words for name, words in SITE.items() if name != "slurm"})
    assert set(fewer.roll_out()) == {"shared", "slurm"}
    assert [client["name"] for client in fewer.files()["shared"]["service"]["clients"]] == ["acct", "fs"]


def test_changes_by_hand_are_undone_and_keys_stay(site: Site) -> None:
    site.roll_out()
    keys, path = site.secrets(), site.folder / "s" / "aip1.toml"
    path.write_text(path.read_text().replace("8041", "8099"))
    assert site.roll_out() == ["aip1"]
    assert site.secrets() == keys


# --- invites ----------------------------------------------------------------------------------------------------------


def ready_to_invite(site: Site) -> list[dict[str, Any]]:
    for host in site.hosts.values():
        host.configure()
        host.open_box()
    return site.topology.introductions({name: host.look() for name, host in site.hosts.items()})


def test_an_invite_opens_on_its_own_host_only(site: Site) -> None:
    wanted = [each for each in ready_to_invite(site) if each["pair"] == "shared<acct@default"]
    sealed = site.hosts["s"].invite([{**wanted[0], "box": site.hosts["s"].look()["box"]}])
    with pytest.raises(SecretError, match="was not sealed for this host"):
        site.hosts["n"].accept(sealed)


def test_without_a_box_nothing_is_sealed_and_nothing_opened(site: Site) -> None:
    wanted = [each for each in ready_to_invite(site) if each["pair"] == "shared<acct@default"]
    with pytest.raises(ConfigError, match="gave no box"):
        site.hosts["s"].invite([{**wanted[0], "box": None}])
    sealed = site.hosts["s"].invite(wanted)
    site.hosts["n"].close_box()
    with pytest.raises(SecretError, match="is gone"):
        site.hosts["n"].accept(sealed)


def test_a_pair_that_a_plan_does_not_know_is_refused(site: Site) -> None:
    box = ready_to_invite(site)[0]["box"]
    with pytest.raises(ConfigError, match="No agent of this host listens for brics<stranger@default"):
        site.hosts["p"].invite([{"pair": "brics<stranger@default", "box": box}])
    with pytest.raises(ConfigError, match="No agent of this host dials for brics<stranger@default"):
        site.hosts["s"].accept({"brics<stranger@default": "00"})


def test_an_invite_that_says_otherwise_than_the_plan_is_refused(site: Site, tmp_path: Path) -> None:
    elsewhere = Site(tmp_path, changed({"shared": {**SITE["shared"], "port": 8056}}))
    wanted = [each for each in ready_to_invite(elsewhere) if each["pair"] == "shared<acct@default"]
    sealed = elsewhere.hosts["s"].invite(wanted)
    with pytest.raises(ConfigError, match=r"says url .*8056.* and the plan says .*8046"):
        site.hosts["n"].accept(sealed)


# --- bridges ----------------------------------------------------------------------------------------------------------


def test_the_client_of_a_bridge_gets_its_file(site: Site) -> None:
    site.roll_out()
    client = tomllib.loads((site.folder / "client.toml").read_text())
    assert client == {"url": "http://127.0.0.1:3000/", "key": site.files()["bridge"]["bridge"]["key"]}
    (site.folder / "client.toml").unlink()
    assert site.roll_out() == ["bridge"]
    assert tomllib.loads((site.folder / "client.toml").read_text()) == client


def test_a_new_key_for_a_bridge_leaves_the_old_one_for_a_while(site: Site) -> None:
    site.roll_out()
    old = load(site.hosts["p"].path("bridge")).bridge
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    assert site.hosts["p"].rotate_bridges(until) == ["bridge"]
    assert site.roll_out() == []
    new = load(site.hosts["p"].path("bridge")).bridge
    assert old is not None
    assert new is not None
    assert [(key.id, key.expires) for key in new.keys] == [("default", None), ("before", until)]
    assert new.keys[1].key == old.keys[0].key != new.keys[0].key
    assert tomllib.loads((site.folder / "client.toml").read_text())["key"]["data"] == new.keys[0].key.hex()
    site.hosts["p"].rotate_bridges(until)
    assert [key.id for key in load(site.hosts["p"].path("bridge")).bridge.keys] == ["default", "before"]  # type: ignore[union-attr]


# --- secrets of agents ------------------------------------------------------------------------------------------------


def with_secrets(site: Site, secrets: Mapping[str, Any]) -> Host:
    """The host of the leaves, told these secrets."""
    host = site.hosts["n"]
    return Host(host.folder, {**host.plan, "secrets": secrets}, host.box)


def opened(host: Host) -> str | None:
    config = load(host.path("acct"))
    return secret_of(config, "password", {"OPENPORTAL_PASSWORD": (host.folder / "acct.password").read_text()})


def test_a_secret_is_sealed_in_the_file_of_its_agent_alone(site: Site) -> None:
    host = with_secrets(site, {"acct": {"password": "very secret"}, "stranger": {"x": "y"}})
    assert host.configure(check=True) == ["acct", "fs"]
    assert list(host.folder.iterdir()) == []
    assert host.configure() == ["acct", "fs"]
    assert opened(host) == "very secret"
    assert host.configure() == []
    assert [path for path in host.folder.iterdir() if b"very secret" in path.read_bytes()] == []
    assert sorted(path.name for path in host.folder.iterdir()) == ["acct.password", "acct.toml", "fs.toml"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in host.folder.iterdir())


def test_a_secret_that_changes_is_sealed_anew(site: Site) -> None:
    with_secrets(site, {"acct": {"password": "old"}}).configure()
    host = with_secrets(site, {"acct": {"password": "new"}})
    assert host.configure(check=True) == ["acct"]
    assert host.configure() == ["acct"]
    assert opened(host) == "new"
    (host.folder / "acct.password").write_text("another password")
    assert host.configure() == ["acct"]
    assert opened(host) == "new"


def test_an_introduction_leaves_secrets_alone(site: Site) -> None:
    """It is told none, which is not the same as that there are none."""
    host = with_secrets(site, {"acct": {"password": "very secret"}})
    host.configure()
    site.roll_out(anew=True)
    assert opened(host) == "very secret"
    assert host.configure() == []


def test_secrets_that_are_no_more_are_taken_out(site: Site) -> None:
    with_secrets(site, {"acct": {"password": "old"}}).configure()
    assert with_secrets(site, {}).configure() == ["acct"]
    assert "password" not in site.hosts["n"].path("acct").read_text()
