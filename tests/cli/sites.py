"""A small site for tests of topologies: three hosts, eight agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ADDRESSES = {"p": "10.0.0.1", "s": "10.0.0.2", "n": "10.0.0.3"}
SITE: Mapping[Any, Any] = {
    "brics": {"kind": "portal", "host": "p"},
    "bridge": {"kind": "bridge", "host": "p", "under": "brics", "client_file": "/etc/openportal-client/client.toml"},
    "aip1": {"kind": "provider", "host": "s", "under": "brics"},
    "clusters": {"kind": "platform", "host": "s", "under": "aip1"},
    "shared": {"kind": "instance", "host": "s", "under": "clusters"},
    "slurm": {"kind": "scheduler", "host": "s", "under": "shared", "system": "sandbox"},
    "fs": {
        "kind": "filesystem", "host": "n", "under": "shared",
        "settings": {"user_volumes": {"home": {"roots": ["/home"]}}},
    },
    "acct": {"kind": "account", "host": "n", "under": "shared"},
}  # fmt: skip


def changed(change: Mapping[Any, Any]) -> dict[Any, Any]:
    """The site with these agents in place of those of the same names, or in addition."""
    return {**SITE, **change}
