"""How a configuration file is edited: in place, however it spells its tables, and nothing else in it is touched."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import tomlkit
from tomlkit.items import AoT, InlineTable


def child(parent: MutableMapping[str, Any], key: str) -> Any:
    """A table of the document; made when it is not there."""
    if key not in parent:
        parent[key] = tomlkit.item({})
    return parent[key]


def put(table: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    """Set entries of a table; of a table that is there already only what changes."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(table.get(key), MutableMapping):
            put(table[key], value)
        else:
            table[key] = value


def append(parent: MutableMapping[str, Any], key: str, values: Mapping[str, Any]) -> None:
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


def drop(parent: MutableMapping[str, Any], key: str, index: int) -> None:
    """One table less. An empty list is written as such: today's agents insist on `servers` and `clients`."""
    del parent[key][index]
    if not parent[key]:
        del parent[key]
        parent[key] = []
