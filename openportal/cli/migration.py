"""An agent that runs today's Rust program is taken over to ours with its keys, and handed back with those of then.

    differences    what its file says that the plan does not, or says otherwise; told before anything is touched
    take_over      its keys go into the file of ours; the old file stays as it is
    hand_back      the keys of now go into the old file, of which nothing else is changed

Both programs read the same file; ours is written from the plan alone, so that it is what every other rollout writes.
What the old agent had in memory is lost when it stops, as always: it keeps no ledger. Neighbours send again what is
open with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomlkit

from openportal.cli.site import HEADER, SIDES, Keys, declared, document, keys_of
from openportal.cli.topology import Pair
from openportal.errors import ConfigError
from openportal.paddington.config import parse, parse_toml
from openportal.paddington.files import exclusive, read_text, write_private
from openportal.paddington.secretstore import looks_sealed

Plan = Mapping[str, Any]
SECTIONS = ("extras", "bridge")
OURS_ALONE = ("agent", "service", "ledger", "metrics", "encryption")
KEYS_OF_A_BRIDGE = ("key", "keys")


def read_old(file: Path) -> dict[str, Any]:
    """The old agent's file, which has to be one that ours could run with. Raises ConfigError."""
    text = read_text(file)
    parse(text, file)
    return parse_toml(text, file)


# --- before -----------------------------------------------------------------------------------------------------------


def differences(agent: Plan, old: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for all in which the old file and the plan do not agree; `told` are secrets of the inventory."""
    name, service = agent["name"], old["service"]
    for word, was, wanted in (("type", old["agent"], agent["agent"]), ("name", service["name"], name)):
        if was != wanted:
            yield f"{name}: the old file is of the {word} {was}, and the topology says {wanted}."
    yield from _peers(agent, service)
    if agent["clients"] and service["url"] != agent["service"]["url"]:
        yield f"{name}: its peers reach it at {service['url']}, and the topology says {agent['service']['url']}."
    yield from _settings(agent, old, told)


def _peers(agent: Plan, service: Mapping[str, Any]) -> Iterator[str]:
    """Peers that one of the two does not know."""
    for side in SIDES:
        held = set(_pairs_of(service["name"], side, service.get(side, [])))
        wanted = set(declared(agent, side))
        for pair in sorted(held - wanted):
            yield f"{agent['name']}: the topology does not know its peer in {pair}, which would be cut off."
        for pair in sorted(wanted - held):
            yield f"{agent['name']}: the old file has no keys for {pair}: introduce the two first."


def _settings(agent: Plan, old: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[str]:
    """Tables of the old file that the plan does not have so."""
    name, tables = agent["name"], agent["tables"]
    for section in SECTIONS:
        for option, value in old.get(section, {}).items():
            if section == "bridge" and option in KEYS_OF_A_BRIDGE:
                continue
            if looks_sealed(str(value)) and "encryption" in old["service"]:
                if option not in told:
                    yield f"{name}: only the old agent opens its secret {option}: tell it in openportal_agent_secrets."
            elif tables.get(section, {}).get(option) != value:
                yield f"{name}: the old file has {section}.{option}, and the topology not so: put it into its settings."
    for table in sorted(set(old) - {*OURS_ALONE, *SECTIONS}):
        if old[table] and tables.get(table) != old[table]:
            yield f"{name}: the old file has the table {table}, and the topology not so: put it into its settings."


# --- there and back ---------------------------------------------------------------------------------------------------


def take_over(agent: Plan, old: Mapping[str, Any], folder: Path) -> bool:
    """Write our file of an agent with the keys of its old one; whether that changed it. A file of ours stays."""
    path = folder / f"{agent['name']}.toml"
    with exclusive(folder):
        if path.exists():
            return False
        wanted = document(agent, old, keys_of(agent["name"], old))
        text = HEADER + tomlkit.dumps(wanted)
        parse(text, path)
        write_private(path, text.encode())
    return True


def hand_back(name: str, folder: Path, file: Path) -> bool:
    """Put the keys of our file into the old one; whether that changed it. Raises ConfigError."""
    ours = parse_toml(read_text(folder / f"{name}.toml"), folder / f"{name}.toml")
    before = read_text(file)
    old = tomlkit.parse(before)
    _put_keys(name, old, keys_of(name, ours))
    if "bridge" in ours:
        old["bridge"]["key"]["data"] = ours["bridge"]["key"]["data"]
    after = tomlkit.dumps(old)
    if after == before:
        return False
    parse(after, file)
    write_private(file, after.encode())
    return True


def _put_keys(name: str, old: Mapping[str, Any], keys: Mapping[Pair, Keys]) -> None:
    for side in SIDES:
        peers = old["service"].get(side, [])
        for pair, peer in zip(_pairs_of(name, side, peers), peers, strict=True):
            if pair not in keys:
                raise ConfigError(f"{name}: there are no keys for {pair} any more: its old agent could not reach it.")
            peer["inner_key"]["data"], peer["outer_key"]["data"] = keys[pair]


def _pairs_of(name: str, side: str, peers: list[Mapping[str, Any]]) -> list[Pair]:
    return list(keys_of(name, {"service": {side: peers}}))
