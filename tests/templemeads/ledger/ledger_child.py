"""A process that writes until it is killed or has made its turns, and acknowledges each unit on standard output.

python ledger_child.py MODE PATH URL SCHEMA TURNS UNITS_PER_TURN [PRAGMA]
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from ledger_samples import open_ledger, unit

from openportal.templemeads.ledger import Settings, sqlite


async def main() -> None:
    mode, path, url, schema, turns, units = sys.argv[1:7]
    if len(sys.argv) > 7:
        sqlite.PRAGMAS = (*sqlite.PRAGMAS, sys.argv[7])
    ledger = open_ledger(Settings(path=Path(path) if path else None, url=url or None, schema=schema, commit=mode))  # type: ignore[arg-type]
    sum(1 for _ in ledger.replay())
    number = ledger.units
    os.write(1, b"ready\n")
    for _ in range(int(turns)):
        for _ in range(int(units)):
            number += 1
            ledger.submit(unit(number), 0.0, lambda n=number: os.write(1, b"%d\n" % n))
        await ledger.drain() if mode == "inline" else await asyncio.sleep(0)
    await ledger.drain()
    os.write(1, b"commits %d\n" % ledger.stats.commits)
    ledger.close()


asyncio.run(main())
