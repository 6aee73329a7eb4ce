"""The words that every agent's command shares: init, client, server, extra, secret, encryption, and a bridge's bridge.

    op-portal -c FILE init --service brics --url wss://portal.example.org --ip 127.0.0.1
    op-portal -c FILE client --add aip1 --ip 10.0.0.0/8        writes invite_brics_default.toml in the working folder
    op-provider server --add invite_brics_default.toml

Spellings, short forms and defaults are those of today's agents, so that operators' scripts keep working. `attach` puts
`-c/--config-file` and the words on a group; `config_path` is how a further command (`run`) finds the file. Every change
replaces the file in one step and keeps what it does not concern. An error is one sentence on stderr and exit code 1.
"""

from __future__ import annotations

import click

from openportal.cli.settings.bridge import bridge
from openportal.cli.settings.init import init, init_bridge, init_slurm
from openportal.cli.settings.peers import client, server
from openportal.cli.settings.sealed import encryption, extra, secret
from openportal.cli.settings.word import Word, config_file_option, config_path
from openportal.paddington.config import AgentDefaults

__all__ = ["AgentDefaults", "Word", "attach", "config_path"]


def attach(group: click.Group, agent: AgentDefaults) -> None:
    """Put `-c/--config-file` and the shared words on an agent's group."""
    group.params.insert(0, config_file_option(agent))
    for command in (client, server, extra, secret, encryption):
        group.add_command(command)
    if agent.agent == "Bridge":
        group.add_command(init_bridge)
        group.add_command(bridge)
    elif agent.agent == "Scheduler":
        group.add_command(init_slurm)
    else:
        group.add_command(init)
