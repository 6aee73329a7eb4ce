"""The settings of a Slurm agent: the `extras` of its file, read once.

    slurm-default-node   {"cpus": 64, "gpus": 4, "mem": 128000, "billing": 64}: what limits and usage are counted in
    slurm-cluster        the cluster; if it is left out, the only one that slurmdbd knows
    slurm-partition      count the jobs of this partition only
    parent-account       the account that projects are put beneath
    sacctmgr sacct scontrol scancel squeue getent
                         commands, with a prefix if need be (`docker exec slurm sacctmgr`)
    slurm-server         where slurmrestd is; with it, commands are used only where sacctmgr is set, for what that
                         slurmrestd cannot do
    slurm-user token-command token-key token-lifespan
                         who we are to slurmrestd, and how a token is got
    max-slurm-runners    commands or requests at the same time
    requeue-policy       who bears what a job used before it was requeued
    slurm-timeout        seconds for one command or request
    account-wait         seconds to wait for an account to be visible before its association is made
    time-zone            whose days the reports are of; the machine's if it is left out

What is left out of squeue and getent takes the prefix of scancel and sacctmgr: they must run where those do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from openportal.agents.scheduler.slurm.attempts import RequeuePolicy
from openportal.errors import ConfigError, GrammarError
from openportal.grammar.quantities import Node

COMMANDS: Final = ("sacctmgr", "sacct", "scontrol", "scancel")
BESIDE: Final = {"squeue": "scancel", "getent": "sacctmgr"}
"""Commands that today's files do not name, and the one whose prefix they take."""

RUNNERS: Final = 5
RUNNERS_MAX: Final = 256
TIMEOUT_SECONDS: Final = 30
TIMEOUT_MAX_SECONDS: Final = 600
ACCOUNT_WAIT_SECONDS: Final = 30
ACCOUNT_WAIT_MAX_SECONDS: Final = 600
TOKEN_LIFESPAN_SECONDS: Final = 1800
TOKEN_LIFESPAN_MIN_SECONDS: Final = 10
TOKEN_LIFESPAN_MAX_SECONDS: Final = 30 * 86_400
NODE_EXAMPLE: Final = '{"cpus": 64, "gpus": 4, "mem": 128000, "billing": 64}'
NODE_FIELDS: Final = {"cpus": "cpus", "gpus": "gpus", "mem": "memory_mb", "billing": "billing"}

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says, checked."""

    node: Node
    cluster: str = ""
    partition: str = ""
    parent: str = "root"
    commands: Mapping[str, Command] = field(default_factory=dict)
    server: str = ""
    user: str = ""
    token_command: Command = ()
    token_key: str = ""
    has_commands: bool = True
    token_lifespan_seconds: int = TOKEN_LIFESPAN_SECONDS
    runners: int = RUNNERS
    policy: RequeuePolicy = RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY
    timeout_seconds: int = TIMEOUT_SECONDS
    account_wait_seconds: int = ACCOUNT_WAIT_SECONDS
    time_zone: str = ""

    @classmethod
    def of(cls, extras: Mapping[str, str]) -> Settings:
        """From the extras of a file. Raises ConfigError, which names the setting."""
        server = extras.get("slurm-server", "").strip()
        return cls(
            cluster=extras.get("slurm-cluster", "").strip().lower(),  # as Slurm keeps it
            partition=extras.get("slurm-partition", "").strip(),
            parent=extras.get("parent-account", "").strip().lower() or "root",
            commands=_commands(extras, bool(server)),
            server=server,
            user=extras.get("slurm-user", "").strip(),
            token_command=tuple(extras.get("token-command", "").split()),
            token_key=extras.get("token-key", "").strip(),
            has_commands=not server or bool(extras.get("sacctmgr")),
            token_lifespan_seconds=_number(
                extras, "token-lifespan", TOKEN_LIFESPAN_SECONDS, TOKEN_LIFESPAN_MIN_SECONDS, TOKEN_LIFESPAN_MAX_SECONDS
            ),
            runners=_number(extras, "max-slurm-runners", RUNNERS, 1, RUNNERS_MAX),
            policy=RequeuePolicy.parse(extras.get("requeue-policy") or RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY),
            timeout_seconds=_number(extras, "slurm-timeout", TIMEOUT_SECONDS, 1, TIMEOUT_MAX_SECONDS),
            account_wait_seconds=_number(extras, "account-wait", ACCOUNT_WAIT_SECONDS, 0, ACCOUNT_WAIT_MAX_SECONDS),
            time_zone=extras.get("time-zone", "").strip(),
            node=parse_node(extras.get("slurm-default-node", "")),
        )


def parse_node(text: str) -> Node:
    """The setting slurm-default-node. Raises ConfigError."""
    if not text.strip():
        raise ConfigError(
            f"slurm-default-node is missing: what a node holds, such as {NODE_EXAMPLE}. Limits are counted in it. "
            "For a trial without a Slurm: `op-slurm extra --key sandbox --value FOLDER`."
        )
    try:
        found = json.loads(text)
        node = Node(**{NODE_FIELDS[name]: amount for name, amount in found.items() if name in NODE_FIELDS})
    except (ValueError, AttributeError, GrammarError) as error:
        raise ConfigError(f"slurm-default-node must be a JSON object such as {NODE_EXAMPLE}: {error}") from error
    if not (node.cpus or node.gpus or node.memory_mb or node.billing):
        raise ConfigError(f"slurm-default-node holds nothing; it is such as {NODE_EXAMPLE}.")
    return node


def _commands(extras: Mapping[str, str], is_rest: bool) -> dict[str, Command]:
    """Each command as words. An empty getent, or none with slurmrestd, means that accounts are not looked for."""
    found = {name: _words(extras, name, name) for name in COMMANDS}
    for name, beside in BESIDE.items():
        *prefix, program = found[beside]
        folder, slash, _ = program.rpartition("/")
        plain = f"{folder}{slash}{name}" if name == "squeue" else name
        found[name] = _words(extras, name, " ".join([*prefix, plain]))
    if is_rest and not {"getent", "sacctmgr"} & extras.keys():
        found["getent"] = ()
    return found


def _words(extras: Mapping[str, str], name: str, default: str) -> Command:
    words = tuple(extras.get(name, default).split())
    if not words and name != "getent":
        raise ConfigError(f"extras.{name} is empty; leave it out or give the command.")
    return words


def _number(extras: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = extras.get(name, str(default)).strip()
    if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
        raise ConfigError(f"{name} is a whole number from {least} to {most}, not {text!r}.")
    return int(text)
