"""What a rollout does on a host: the files of its agents, and their introductions to those on other hosts.

A *plan* (see topology) says what the host's agents are to be. Their files live in one folder and are wholly the
rollout's: what the plan says stands in them, what it does not say is taken out, and the keys that were made on the
hosts stay. Keys are made where an agent listens and travel once:

    look      every host     what keys it holds, as fingerprints, and a box to seal invites into (a fresh public key)
    invite    who listens    new keys for a pair; the invite leaves the host only sealed into the other host's box
    accept    who dials      opens it, checks it against its own plan, and takes the keys

So whoever carries the answers between the hosts sees fingerprints and sealed boxes, never a key. A pair whose
fingerprints agree is left alone; one that was interrupted half way has two different ones and is introduced again.

What an agent must know beyond that, such as the password of its directory service, comes beside the plan, under
`secrets`, by agent and option. It is sealed in the agent's file with a password that is made on the host, which systemd
hands to the agent as a credential.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import tomlkit
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from openportal.cli.topology import Pair
from openportal.errors import ConfigError, SecretError
from openportal.paddington.config import parse, parse_toml
from openportal.paddington.files import exclusive, read_text, write_private
from openportal.paddington.invite import Invite, new_key
from openportal.paddington.secretstore import looks_sealed, open_secret, seal_secret

HEADER = "# Written by the rollout: what is changed here is undone by the next one.\n"
FINGERPRINT_BYTES = 16
PASSWORD_VARIABLE = "OPENPORTAL_PASSWORD"
PASSWORD_BYTES = 32
OLD_KEY_ID = "before"  # of the key that a bridge had before its last rotation
SIDES = {"clients": "listener", "servers": "dialler"}
FIRST_CONTACT = ("next_keys", "spent_keys", "invite_expires")  # see keyring: what an agent notes beside a pair's keys

Plan = Mapping[str, Any]
Keys = tuple[str, str]


@dataclass(frozen=True)
class Host:
    """The folder of the agents' files, and the plan. The box's private key lies in `box`, until it was used."""

    folder: Path
    plan: Plan
    box: Path

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.toml"

    # --- what the files say -------------------------------------------------------------------------------------------

    def configure(self, check: bool = False) -> list[str]:
        """Make the files what the plan says; returns the names of the agents whose file changed, or would."""
        changed = [agent["name"] for agent in self.plan["agents"] if self._write(agent, {}, check)]
        for name in self.strangers():
            changed.append(name)
            if not check:
                self.path(name).unlink()
                self._password_file(name).unlink(missing_ok=True)
        return sorted(changed)

    def strangers(self) -> list[str]:
        """Agents that a rollout put here and the plan does not know: they moved, or are no more."""
        known = {agent["name"] for agent in self.plan["agents"]}
        files = sorted(self.folder.glob("*.toml"))
        return [path.stem for path in files if path.stem not in known and read_text(path).startswith(HEADER)]

    def _write(self, agent: Plan, keys: Mapping[Pair, Keys], check: bool = False) -> bool:
        path = self.path(agent["name"])
        with nullcontext() if check else exclusive(self.folder):
            held = self._held(path)
            wanted = document(agent, held, {**keys_of(agent["name"], held), **keys})
            wanted = self._with_secrets(agent["name"], wanted, held, check)
            changed = wanted != held
            if changed and not check:
                text = HEADER + tomlkit.dumps(wanted)
                parse(text, path)
                write_private(path, text.encode())
        return self._write_client_file(agent, wanted, check) or changed

    def _held(self, path: Path) -> dict[str, Any]:
        return parse_toml(read_text(path), path) if path.exists() else {}

    def _with_secrets(self, name: str, wanted: dict[str, Any], held: Mapping[str, Any], check: bool) -> dict[str, Any]:
        """A file with its secrets: those that are told, sealed; or, where none are told, those that it holds."""
        if "secrets" not in self.plan:
            return with_sealed(wanted, held_secrets(held))
        told: Mapping[str, str] = self.plan["secrets"].get(name, {})
        if not told:
            return wanted
        path = self._password_file(name)
        if not path.exists() and not check:
            write_private(path, token_urlsafe(PASSWORD_BYTES).encode())
        password = read_text(path) if path.exists() else token_urlsafe(PASSWORD_BYTES)
        kept = held_secrets(held)
        return with_sealed(wanted, {key: resealed(value, kept.get(key, ""), password) for key, value in told.items()})

    def _password_file(self, name: str) -> Path:
        return self.folder / f"{name}.password"

    def _write_client_file(self, agent: Plan, wanted: Mapping[str, Any], check: bool) -> bool:
        """The file that the portal's software loads, where the plan asks for one."""
        if not agent.get("client_file"):
            return False
        path = Path(agent["client_file"])
        text = tomlkit.dumps({"url": wanted["bridge"]["url"], "key": dict(wanted["bridge"]["key"])})
        if path.exists() and read_text(path) == text:
            return False
        if not check:
            write_private(path, text.encode())
        return True

    def rotate_bridges(self, until: datetime) -> list[str]:
        """A new key for each bridge; the one it had is good until then. Returns the names of the bridges."""
        bridges = [agent for agent in self.plan["agents"] if agent["agent"] == "Bridge"]
        for agent in bridges:
            path = self.path(agent["name"])
            with exclusive(self.folder):
                wanted = with_new_key(self._held(path), until)
                write_private(path, (HEADER + tomlkit.dumps(wanted)).encode())
            self._write_client_file(agent, wanted, check=False)
        return [agent["name"] for agent in bridges]

    # --- introductions ------------------------------------------------------------------------------------------------

    def look(self) -> dict[str, Any]:
        """The fingerprint of every pair's keys on this host, and the box for invites (None: it is not made yet)."""
        pairs: dict[str, dict[str, str]] = {}
        for agent in self.plan["agents"]:
            held = self._held(self.path(agent["name"]))
            for side, pair, keys in _pairs(agent["name"], held):
                pairs.setdefault(str(pair), {})[side] = fingerprint(keys)
        return {"pairs": pairs, "box": self._public()}

    def open_box(self) -> None:
        """Make a box for invites, if there is none."""
        if not self.box.exists():
            write_private(self.box, bytes(PrivateKey.generate()))

    def close_box(self) -> None:
        self.box.unlink(missing_ok=True)

    def _public(self) -> str | None:
        return bytes(self._private().public_key).hex() if self.box.exists() else None

    def _private(self) -> PrivateKey:
        try:
            return PrivateKey(self.box.read_bytes())
        except FileNotFoundError:
            raise SecretError(f"{self.box} is gone, so no invite can be opened; run the rollout again.") from None

    def invite(self, wanted: Iterable[Mapping[str, str]]) -> dict[str, str]:
        """Make keys for these pairs, of which we listen in each; pair -> its invite, sealed into the given box."""
        boxes = {one["pair"]: one["box"] for one in wanted}
        sealed: dict[str, str] = {}
        for agent in self.plan["agents"]:
            pairs = {pair: boxes[str(pair)] for pair in declared(agent, "clients") if str(pair) in boxes}
            keys = {pair: (new_key().hex(), new_key().hex()) for pair in pairs}
            if keys:
                self._write(agent, keys)
            sealed.update({str(pair): seal(invite_of(agent, pair, keys[pair]), box) for pair, box in pairs.items()})
        if missing := sorted(set(boxes) - set(sealed)):
            raise ConfigError(f"No agent of this host listens for {missing[0]}; its plan and the invitation disagree.")
        return sealed

    def accept(self, sealed: Mapping[str, str]) -> list[str]:
        """Take the keys of these invites; returns the names of the agents that changed."""
        box = SealedBox(self._private())
        taken: set[str] = set()
        changed: list[str] = []
        for agent in self.plan["agents"]:
            mine = {pair: sealed[str(pair)] for pair in declared(agent, "servers") if str(pair) in sealed}
            keys = {pair: keys_in(open_invite(box, text, pair), agent, pair) for pair, text in mine.items()}
            taken.update(map(str, mine))
            if keys and self._write(agent, keys):
                changed.append(agent["name"])
        if missing := sorted(set(sealed) - taken):
            raise ConfigError(f"No agent of this host dials for {missing[0]}; its plan and the invite disagree.")
        self.close_box()
        return changed


# --- the file of an agent ---------------------------------------------------------------------------------------------


def document(agent: Plan, held: Mapping[str, Any], keys: Mapping[Pair, Keys]) -> dict[str, Any]:
    """An agent's file: what the plan says, with the keys that there are; a pair without keys is not in it yet."""
    tables = {name: dict(table) for name, table in agent["tables"].items() if table}
    service = dict(agent["service"])
    for side in SIDES:
        there = {_pair(agent["name"], side, peer): peer for peer in held.get("service", {}).get(side, [])}
        service[side] = [
            _entry(peer, _key_tables(keys[pair]), there.get(pair, {}))
            for peer, pair in zip(agent[side], declared(agent, side), strict=True)
            if pair in keys
        ]
    if agent["agent"] == "Bridge":
        tables["bridge"] = {**tables.get("bridge", {}), **_bridge_keys(held)}
    return {"agent": agent["agent"], "service": service, **tables}


def held_secrets(held: Mapping[str, Any]) -> dict[str, str]:
    """The options of a file that are sealed, if it says with what."""
    extras = held.get("extras", {}) if "encryption" in held.get("service", {}) else {}
    return {key: value for key, value in extras.items() if looks_sealed(value)}


def with_sealed(wanted: dict[str, Any], sealed: Mapping[str, str]) -> dict[str, Any]:
    """A file with these sealed options, and with what they are sealed with."""
    if not sealed:
        return wanted
    service = {**wanted["service"], "encryption": {"Environment": {"key": PASSWORD_VARIABLE}}}
    return {**wanted, "service": service, "extras": {**wanted.get("extras", {}), **sealed}}


def resealed(secret: str, held: str, password: str) -> str:
    """A secret, sealed; as it is sealed already, if that opens to the same."""
    try:
        same = looks_sealed(held) and open_secret(held, password) == secret
    except SecretError:
        same = False
    return held if same else seal_secret(secret, password)


def _entry(peer: Plan, keys: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """A peer in an agent's file. What first contact left beside its keys stays there for as long as these do."""
    same = all(held.get(name) == key for name, key in keys.items())
    return {**_plain(peer), **keys, **{name: held[name] for name in FIRST_CONTACT if same and name in held}}


def _plain(peer: Plan) -> dict[str, Any]:
    """A peer of the plan, as it stands in the file."""
    return {**peer, "ip": {"IP": peer["ip"]}} if "ip" in peer else dict(peer)


def _key_tables(keys: Keys) -> dict[str, Any]:
    inner, outer = keys
    return {"inner_key": {"data": inner}, "outer_key": {"data": outer}}


def _bridge_keys(held: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the bridge's API: those that there are, and at least one."""
    bridge = held.get("bridge", {})
    more = {"keys": bridge["keys"]} if "keys" in bridge else {}
    return {"key": bridge.get("key", {"data": new_key().hex()}), **more}


def with_new_key(held: Mapping[str, Any], until: datetime) -> dict[str, Any]:
    """A bridge's file with a new key; the old one stays under another id, until it expires."""
    bridge = held["bridge"]
    old = {"id": OLD_KEY_ID, "data": bridge["key"]["data"], "expires": until}
    others = [key for key in bridge.get("keys", []) if key["id"] != OLD_KEY_ID]
    return {**held, "bridge": {**bridge, "key": {"data": new_key().hex()}, "keys": [*others, old]}}


def declared(agent: Plan, side: str) -> list[Pair]:
    """The pairs of an agent in the plan, of its `clients` or of its `servers`."""
    return [_pair(agent["name"], side, peer) for peer in agent[side]]


def _pair(name: str, side: str, peer: Mapping[str, Any]) -> Pair:
    zone = peer.get("zone", "default")
    return Pair(name, peer["name"], zone) if side == "clients" else Pair(peer["name"], name, zone)


def _pairs(name: str, held: Mapping[str, Any]) -> Iterator[tuple[str, Pair, Keys]]:
    """Every pair in an agent's file: as what the agent is in it, and its keys."""
    for side, what in SIDES.items():
        for peer in held.get("service", {}).get(side, []):
            yield what, _pair(name, side, peer), (peer["inner_key"]["data"], peer["outer_key"]["data"])


def keys_of(name: str, held: Mapping[str, Any]) -> dict[Pair, Keys]:
    return {pair: keys for _, pair, keys in _pairs(name, held)}


def fingerprint(keys: Keys) -> str:
    """Tells two pairs of keys apart and nothing about them: they are 64 random bytes."""
    return hashlib.blake2b("".join(keys).encode(), digest_size=FINGERPRINT_BYTES, person=b"openportal pair").hexdigest()


# --- invites ----------------------------------------------------------------------------------------------------------


def invite_of(agent: Plan, pair: Pair, keys: Keys) -> Invite:
    inner, outer = (bytes.fromhex(key) for key in keys)
    return Invite(agent["name"], agent["service"]["url"], pair.zone, inner, outer, agent["agent"])


def seal(invite: Invite, box: str) -> str:
    """An invite that only the host whose box it is can read."""
    try:
        return SealedBox(PublicKey(bytes.fromhex(box))).encrypt(invite.to_text().encode()).hex()
    except (ValueError, TypeError):
        raise ConfigError("The other host gave no box to seal its invite into; look there first.") from None


def open_invite(box: SealedBox[PrivateKey], text: str, pair: Pair) -> Invite:
    try:
        plain = box.decrypt(bytes.fromhex(text)).decode()
    except (CryptoError, ValueError):
        raise SecretError(f"The invite of {pair} was not sealed for this host; run the rollout again.") from None
    return Invite.parse(plain, Path(str(pair)))


def keys_in(invite: Invite, agent: Plan, pair: Pair) -> Keys:
    """The keys of an invite that says what our plan says of the one who invites."""
    plan = next(server for server in agent["servers"] if (server["name"], server["zone"]) == (pair.listener, pair.zone))
    said = {"name": invite.name, "zone": invite.zone, "type": invite.type, "url": invite.url}
    for word, value in said.items():
        if value != plan[word]:
            raise ConfigError(f"The invite of {pair} says {word} {value!r}, and the plan says {plan[word]!r}.")
    return invite.inner_key.hex(), invite.outer_key.hex()
