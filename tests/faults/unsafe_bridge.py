"""op-bridge with a ledger that does not wait for the disk: what a test of power loss must be able to tell."""

from __future__ import annotations

from openportal.cli import agents
from openportal.templemeads.ledger import sqlite

if __name__ == "__main__":
    sqlite.PRAGMAS = tuple(pragma.replace("synchronous=FULL", "synchronous=OFF") for pragma in sqlite.PRAGMAS)
    assert any("synchronous=OFF" in pragma for pragma in sqlite.PRAGMAS)
    agents.bridge()
