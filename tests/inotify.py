"""What the kernel lets one user watch: every systemd of a test host takes some of it, in containers as on machines."""

from __future__ import annotations

from pathlib import Path

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INSTANCES = 1024


def allow_instances() -> None:
    """Raise the limit of the machine if it is lower: beside other containers the usual 128 are too few."""
    if int(LIMIT.read_text()) < INSTANCES:
        LIMIT.write_text(str(INSTANCES))
