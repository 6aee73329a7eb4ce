"""OpenPortal in Python.

    import openportal

    openportal.load_config("bridge-client.toml")
    job = openportal.run("brics.aip1.clusters.shared get_users demo.brics", max_ms=10_000)

This is what a portal's software needs, and takes the place of the published client: every name of it is here, from
`openportal.client`. It is imported when the first of its names is used, so that the agents, which live below this
package too, do not carry it. `docs/client.md` is the way in.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openportal.client import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "openportal":  # as the published client has it: the module within the package
        return sys.modules[__name__]
    client = import_module("openportal.client")
    if name == "__all__":
        return client.__all__
    if name not in client.__all__:
        raise AttributeError(f"module 'openportal' has no attribute {name!r}")
    return getattr(client, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("openportal.client").__all__, "openportal"})
