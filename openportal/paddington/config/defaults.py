"""What `init` writes for each of the commands when it is told nothing else, and where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BRIDGE_HTTP_PORT = 3000
BRIDGE_URL = "http://localhost:3000"
SIGNAL_URL = "http://localhost/signal"
NOTIFICATION_URL = "http://localhost/notification"


@dataclass(frozen=True)
class AgentDefaults:
    """What `init` writes when it is told nothing else. `service` is the default name and names the default file."""

    command: str
    agent: str
    service: str
    port: int

    @property
    def config_file(self) -> Path:
        return default_folder() / f"{self.service}-config.toml"


DEFAULTS: Mapping[str, AgentDefaults] = {
    defaults.service: defaults
    for defaults in (
        AgentDefaults("op-portal", "Portal", "portal", 8040),
        AgentDefaults("op-provider", "Provider", "provider", 8041),
        AgentDefaults("op-bridge", "Bridge", "bridge", 8044),
        AgentDefaults("op-clusters", "Platform", "clusters", 8045),
        AgentDefaults("op-cluster", "Instance", "cluster", 8046),
        AgentDefaults("op-freeipa", "Account", "freeipa", 8046),
        AgentDefaults("op-localaccount", "Account", "localaccount", 8047),
        AgentDefaults("op-filesystem", "Filesystem", "filesystem", 8047),
        AgentDefaults("op-slurm", "Scheduler", "slurm", 8048),
    )
}


def default_folder() -> Path:
    """`~/.config/openportal`, or below XDG_CONFIG_HOME when that is an absolute path."""
    xdg = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (xdg if xdg.is_absolute() else Path("~/.config").expanduser()) / "openportal"
