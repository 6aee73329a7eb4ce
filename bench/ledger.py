"""How fast the ledger is: `python bench/ledger.py [--open EVENTS]`. CPU figures repeat; wall figures are the disk's."""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from openportal.templemeads.ledger import Event, Ledger, Settings, open_reader

TURNS = {1: 2_000, 8: 1_500, 64: 400}
JOB = "6f2c1c8e-52a4-5c3e-9a57-0c4b7f1c2d3e"


class Received(Event, frozen=True):
    """The shape of the commonest event: half of its fields are personal."""

    TOPIC = "Received"
    PRIVATE = ("instruction",)
    job: str
    version: int
    instruction: str | None = None
    subject: str | None = None


class Finished(Event, frozen=True):
    TOPIC = "Finished"
    job: str
    version: int
    state: str


EVENTS: list[type[Event]] = [Received, Finished]


def unit(number: int, private: bool) -> list[tuple[str, Event]]:
    user = f"user{number % 200}.demo.brics"
    received = Received(JOB, 1000, f"portal.provider.cluster add_user {user}", user if private else None)
    return [("portal@brics", received), ("cluster@isambard", Finished(JOB, 1003, "complete"))]


@contextmanager
def timed(label: str, events: int) -> Iterator[None]:
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{label:<44} {events / wall:>10,.0f} events/s {cpu / events * 1e6:>8.1f} us CPU/event")


async def write(mode: Literal["inline", "thread"], batch: int, private: bool) -> None:
    """`batch` units per turn of the loop, each turn waiting for its last acknowledgement."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Settings(path=Path(folder), commit=mode), EVENTS)
        turns = TURNS[batch]
        label = f"write {mode}, {batch} units of 2{', sealed' if private else ''}"
        with timed(label, turns * batch * 2):
            for _ in range(turns):
                done = asyncio.get_running_loop().create_future()
                for number in range(batch - 1):
                    ledger.submit(unit(number, private), time.time())
                ledger.submit(unit(batch, private), time.time(), partial(done.set_result, None))
                await done
        ledger.close()
        report_bytes(Path(folder), ledger)


def report_bytes(folder: Path, ledger: Ledger) -> None:
    size = (folder / "ledger.sqlite").stat().st_size
    print(f"{'':<44} {size / ledger.position:>10.0f} bytes/event on disk")


async def encode_only(private: bool) -> None:
    """The part on the loop: encoding, sealing and chaining, without the database."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Settings(path=Path(folder)), EVENTS)
        units = [unit(number, private) for number in range(1_000)]
        with timed(f"submit alone{', sealed' if private else ''}", 2_000):
            for each in units:
                ledger.submit(each, 1_780_000_000.25)
        ledger.close()


async def open_big(events: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(path=Path(folder))
        ledger = Ledger.open(settings, EVENTS)
        while ledger.position < events:
            for number in range(900):
                ledger.submit(unit(number, True), time.time())
            await ledger.drain()
            if events - 6_000 < ledger.position < events - 4_000:
                ledger.save_checkpoint(b"x" * 300_000)
        ledger.close()
        start = time.perf_counter()
        ledger = Ledger.open(settings, EVENTS)
        tail = sum(1 for _ in ledger.replay())
        print(f"open {ledger.position:,} events, replay the last {tail:,}: {time.perf_counter() - start:.3f} s")
        ledger.close()
        read_all(settings)


def read_all(settings: Settings) -> None:
    with open_reader(settings, EVENTS) as reader:
        events = reader.stats().events
        with timed("verify", events):
            print(reader.verify())
        with timed("read all as events", events):
            for _ in reader.records():
                pass
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--open", type=int, default=1_000_000, help="size of the ledger to open; 0 leaves it out")
    arguments = parser.parse_args()
    for private in (False, True):
        asyncio.run(encode_only(private))
    for mode in ("inline", "thread"):
        for batch in TURNS:
            for private in (False, True):
                asyncio.run(write(mode, batch, private))
    if arguments.open:
        asyncio.run(open_big(arguments.open))


if __name__ == "__main__":
    main()
