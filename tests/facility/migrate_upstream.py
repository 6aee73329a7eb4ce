"""Released Rust agents 0.32.2 under systemd on two hosts are taken over by the play, and handed back.

    python tests/facility/migrate_upstream.py --upstream FOLDER

FOLDER holds the released programs op-bridge, op-portal, op-provider, op-clusters, op-cluster, op-localaccount and
op-filesystem; how they came to be is not looked at. Beside what `test_migrate.py` shows without them, the one kind has
to link with the other half way through, and theirs among themselves after the way back, with keys changed meanwhile.

It needs root, for hosts in containers. Each step is told when it was as expected; the first that was not ends the run.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.facility.conftest import bundled
from tests.facility.migration import Today, hosts_of_today, ours, theirs

DIALLED = {"op-provider": 8040, "op-clusters": 8041, "op-cluster": 8045, "op-localaccount": 8046, "op-filesystem": 8046}
LINK_SECONDS = 60.0
POLL_SECONDS = 1.0


def theirs_link(today: Today) -> None:
    """Each agent on the site's host has the connection that it dials, by the kernel's own table."""
    deadline = time.monotonic() + LINK_SECONDS
    while missing := unlinked(today):
        assert time.monotonic() < deadline, f"without a link: {', '.join(missing)}"
        time.sleep(POLL_SECONDS)


def unlinked(today: Today) -> list[str]:
    found = today.bed.ssh("site", "ss -Htnp state established")
    return [name for name, port in DIALLED.items() if not re.search(rf':{port}\s+users:.*"{name}"', found)]


def one_host_is_taken_over(today: Today) -> None:
    """The play waits for all links of the site's agents, that with the portal of theirs among them."""
    today.controller.play("ansible/migrate.yml", "--limit", "site,localhost")
    assert today.active() == [theirs("portal"), ours("site")]


def all_are_taken_over(today: Today) -> None:
    today.take_over()
    today.controller.play("ansible/check.yml")


def all_are_handed_back(today: Today) -> None:
    today.hand_back()


STEPS: tuple[tuple[str, Callable[[Today], None]], ...] = (
    ("theirs link", theirs_link),
    ("one host is taken over and links with the other", one_host_is_taken_over),
    ("all are taken over, and a job goes through", all_are_taken_over),
    ("all are handed back, with new keys", all_are_handed_back),
    ("theirs link again", theirs_link),
    ("all are taken over once more", all_are_taken_over),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, required=True, help="the folder of the released programs")
    upstream = parser.parse_args().upstream.resolve()
    if os.geteuid() != 0:
        sys.exit("this needs root: it boots hosts in containers")
    with (
        tempfile.TemporaryDirectory(prefix="openportal-migrate-") as scratch,
        hosts_of_today(Path(scratch) / "bed", bundled(), upstream) as today,
    ):
        for name, step in STEPS:
            begin = time.monotonic()
            step(today)
            print(f"{name:<50} as expected  {time.monotonic() - begin:5.1f} s", flush=True)


if __name__ == "__main__":
    main()
