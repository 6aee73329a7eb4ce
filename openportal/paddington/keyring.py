"""The keys of our peers as they stand now, and how an invite's keys are replaced at first contact.

An invite is a file with keys that somebody carried, so copies may be anywhere. Two agents of ours use its keys once, to
agree on others that were never in a file (`next` in ephemeral.py). In wire order, K0 being the invite's keys:

    dialling side                                   accepting side
    connects with K0, PeerDetails.supports_rotation ──►  writes K1 into its file, as one of the client's `next_keys`
    writes K1 in the place of K0                    ◄──  PeerDetails.rotated, and closes
    connects with K1                                ──►  K1 is confirmed: it writes K1 in the place of K0, K0 as
                                                         `spent_keys`, and forgets the other `next_keys`

Each arrow is sent when what stands before it is on the disk. So the accepting side knows every pair that the dialling
side may come back with, wherever either is killed: K0 before it wrote, K1 after it. If K0 comes again before K1 is
confirmed, K1 stays and a further pair is agreed on: whoever had K1 written can still return.

Once K1 is confirmed, K0 opens nothing, and a connection that uses it is refused and alarmed: somebody has a copy of the
invite. If that one came first, it is the invited agent that is refused and alarmed, so a theft is noticed either way.

A client has `invite_expires` from `client --add` until its first contact; then the accepting side takes K0 no longer.
A peer that does not rotate (an agent of 0.32.2, one of a standby pair, one that cannot write its file) goes on with K0.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import tomlkit

from openportal.errors import ConfigError, HandshakeError, IdentityAlarm
from openportal.paddington.config import ClientPeer, IpRules, ServerPeer, ServiceConfig, edit, load
from openportal.paddington.ephemeral import KeyPair
from openportal.paddington.peer import SPENT_INVITE, Peer

NEXT_KEYS_MAX = 4  # pairs that were written and not confirmed; beyond that the oldest is forgotten

log = logging.getLogger("openportal.paddington.keyring")


class Standing(Enum):
    """What a pair of keys is to a client."""

    CURRENT = "current"
    NEXT = "next"
    SPENT = "spent"


@dataclass(frozen=True)
class Candidate:
    """A client under one of its pairs of keys."""

    client: ClientPeer
    keys: KeyPair
    standing: Standing

    @property
    def name(self) -> str:
        return self.client.name

    @property
    def zone(self) -> str:
        return self.client.zone

    @property
    def ip(self) -> IpRules | None:
        return self.client.ip

    @property
    def standby(self) -> bool:
        return self.client.standby

    @property
    def inner_key(self) -> bytes:
        return self.keys.inner_key

    @property
    def outer_key(self) -> bytes:
        return self.keys.outer_key


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Keyring:
    """The peers of a service with their keys, in memory and in the agent's file; without a `path`, in memory only.

    The file is read once more when a keyring is made, as keys may have been replaced since `service` was read.
    """

    def __init__(
        self, service: ServiceConfig, path: Path | None = None, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._path = path if path is not None and path.is_file() else None
        newest = load(self._path).service if self._path is not None else service
        self._clients = {_peer(client): client for client in service.clients}
        self._clients.update((_peer(client), client) for client in newest.clients if _peer(client) in self._clients)
        self._servers = {_peer(server): server for server in service.servers}
        self._servers.update((_peer(server), server) for server in newest.servers if _peer(server) in self._servers)
        self._now = now
        self.rotates = self._path is not None and os.access(self._path.resolve().parent, os.W_OK)
        invited = [str(peer) for peer, client in self._clients.items() if client.invite_expires is not None]
        if invited and not self.rotates:
            log.warning("the invites of %s do not expire: their use cannot be written down", ", ".join(invited))

    # ---- what the handshake asks ------------------------------------------------------------------------------------

    def candidates(self) -> list[Candidate]:
        """Every client under every pair of keys that we know, those in use first."""
        clients = self._clients.values()
        found = [Candidate(client, _keys(client), Standing.CURRENT) for client in clients]
        found += [Candidate(client, keys, Standing.NEXT) for client in clients for keys in client.next_keys]
        return found + [
            Candidate(client, client.spent_keys, Standing.SPENT) for client in clients if client.spent_keys is not None
        ]

    def server(self, peer: Peer) -> ServerPeer:
        return self._servers[peer]

    def check(self, candidate: Candidate) -> None:
        """Raise HandshakeError if nobody may come with these keys: IdentityAlarm for those of a spent invite."""
        standing, expires = self._standing(candidate), candidate.client.invite_expires
        if standing is Standing.SPENT:
            raise IdentityAlarm(
                SPENT_INVITE,
                f"the invite of {_peer(candidate.client)} was used before, so there is a copy of it; "
                f"if it is not yours, make new keys with client --rotate {candidate.name}",
            )
        if standing is Standing.CURRENT and self.rotates and expires is not None and expires < self._now():
            raise HandshakeError(
                f"the invite of {_peer(candidate.client)} expired on {expires.astimezone(UTC):%Y-%m-%d %H:%M} UTC; "
                f"make another with client --rotate {candidate.name}"
            )

    def _standing(self, candidate: Candidate) -> Standing:
        """What its keys are now: others may have taken their place since its handshake began."""
        client = self._clients[_peer(candidate.client)]
        if candidate.keys == _keys(client):
            return Standing.CURRENT
        return Standing.NEXT if candidate.keys in client.next_keys else Standing.SPENT

    # ---- the accepting side -----------------------------------------------------------------------------------------

    def welcome(self, candidate: Candidate, offered: KeyPair | None) -> bool:
        """A client is who it must be. Whether it has to come again with the `offered` keys; None if it has none.

        A change that cannot be written is logged, and everything stays as it was. Raises as `check` does.
        """
        self.check(candidate)
        peer = _peer(candidate.client)
        client = self._clients[peer]
        try:
            if self._standing(candidate) is Standing.NEXT:
                self._confirm(peer, client, candidate.keys)
            elif client.invite_expires is not None and self.rotates:
                if offered is not None and not client.standby:
                    self._propose(peer, client, offered)
                    return True
                self._keep(peer, client)
        except ConfigError as error:
            log.error("%s: its keys cannot be replaced: %s", peer, error)
        return False

    def _propose(self, peer: Peer, client: ClientPeer, keys: KeyPair) -> None:
        if client.next_keys:
            log.warning("%s: its invite is used again before the new keys were confirmed", peer)
        pairs = (*client.next_keys, keys)[-NEXT_KEYS_MAX:]
        self._write_client(replace(client, next_keys=pairs))

    def _confirm(self, peer: Peer, client: ClientPeer, keys: KeyPair) -> None:
        self._write_client(
            replace(
                client,
                inner_key=keys.inner_key,
                outer_key=keys.outer_key,
                next_keys=(),
                spent_keys=_keys(client),
                invite_expires=None,
            )
        )
        log.info("%s: its invite is spent; both sides have new keys", peer)

    def _keep(self, peer: Peer, client: ClientPeer) -> None:
        self._write_client(replace(client, next_keys=(), invite_expires=None))
        log.info("%s: it goes on with the keys of its invite; destroy every copy of the file", peer)

    # ---- the dialling side ------------------------------------------------------------------------------------------

    def adopt(self, peer: Peer, keys: KeyPair) -> None:
        """The server has these keys on its disk; put them in the place of ours. Raises ConfigError."""
        old = self._servers[peer]
        new = replace(old, inner_key=keys.inner_key, outer_key=keys.outer_key)
        try:
            self._write("servers", old, new)
        except ConfigError:
            self.rotates = False  # the next attempt goes on with the invite's keys
            raise
        self._servers[peer] = new
        log.info("%s: the keys of its invite are replaced", peer)

    # ---- the file ---------------------------------------------------------------------------------------------------

    def _write_client(self, new: ClientPeer) -> None:
        peer = _peer(new)
        self._write("clients", self._clients[peer], new)
        self._clients[peer] = new

    def _write(self, kind: str, old: ClientPeer | ServerPeer, new: ClientPeer | ServerPeer) -> None:
        """Replace one peer's entry in the file; ConfigError if that is not the one we know any more."""
        if self._path is None:
            raise ConfigError("There is no file to write them to.")
        with edit(self._path) as (document, config):
            peers: tuple[ClientPeer | ServerPeer, ...] = getattr(config.service, kind)
            at = next((i for i, peer in enumerate(peers) if _peer(peer) == _peer(old)), None)
            if at is None or _keys(peers[at]) != _keys(old):
                raise ConfigError(f"{self._path} has other keys than this agent; restart it.")
            _change(document["service"][kind][at], new)


def _peer(peer: ClientPeer | ServerPeer) -> Peer:
    return Peer(peer.name, peer.zone)


def _keys(peer: ClientPeer | ServerPeer) -> KeyPair:
    return KeyPair(peer.inner_key, peer.outer_key)


def key_tables(keys: KeyPair) -> dict[str, Any]:
    """A pair of keys as the files hold it."""
    return {"inner_key": {"data": keys.inner_key.hex()}, "outer_key": {"data": keys.outer_key.hex()}}


def _change(entry: MutableMapping[str, Any], new: ClientPeer | ServerPeer) -> None:
    for name, table in key_tables(_keys(new)).items():
        if isinstance(entry[name], MutableMapping):
            entry[name]["data"] = table["data"]
        else:
            entry[name] = table["data"]  # as it is spelled there
    if isinstance(new, ClientPeer):
        pairs, spent = [key_tables(keys) for keys in new.next_keys], new.spent_keys
        _put(entry, "next_keys", pairs)
        _put(entry, "spent_keys", key_tables(spent) if spent else None)
        _put(entry, "invite_expires", new.invite_expires)


def _put(entry: MutableMapping[str, Any], name: str, value: Any) -> None:
    entry.pop(name, None)
    if value:
        entry[name] = _inline(value)


def _inline(value: Any) -> Any:
    """A value of the file on one line, which fits into every spelling of the entry around it."""
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for name, inner in value.items():
            table.append(name, _inline(inner))
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        for inner in value:
            array.append(_inline(inner))
        return array
    return tomlkit.item(value)
