"""Filters around backups on the controller: which there are, which are too old, and their keys for one host.

A backup is FOLDER/AGENT/AGENT-TIME.backup, so the names sort by time. The controller needs the Python package
`openportal-agents[rollout]` in the environment that Ansible runs in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError


def backups(folder: str, names: Iterable[str], time: str = "") -> list[dict[str, str]]:
    """The last backup of each agent, or that of a time: name and file. Raises AnsibleFilterError if one has none."""
    found = []
    for name in names:
        files = kept(folder, name)
        chosen = [file for file in files if not time or file.name == f"{name}-{time}{ending()}"]
        if not chosen:
            there = ", ".join(file.name.removeprefix(f"{name}-").removesuffix(ending()) for file in files) or "none"
            raise AnsibleFilterError(
                f"There is no backup of {name} {f'of {time} ' if time else ''}in {folder}, and no host was touched; "
                f"there are: {there}."
            )
        found.append({"name": str(name), "file": str(chosen[-1])})
    return found


def outdated(folder: str, names: Iterable[str], keep: int) -> list[str]:
    """The backups of these agents beyond the last `keep` of each; at least one is kept."""
    return [str(file) for name in names for file in kept(folder, name)[: -max(1, int(keep))]]


def handed_over(found: Iterable[Mapping[str, str]], key: str, box: str, folder: str) -> list[dict[str, str]]:
    """What a host needs to open its backups, which were carried into a folder there: each with its key for the box."""
    from openportal.cli.sealedfile import key_for, private_key, public_key
    from openportal.errors import SecretError

    try:
        private, recipient = private_key(Path(key)), public_key(box)
        return [
            {
                "name": one["name"],
                "file": f"{folder}/{one['name']}",
                "key": key_for(Path(one["file"]), private, recipient),
            }
            for one in found
        ]
    except SecretError as error:
        raise AnsibleFilterError(f"openportal_backup_key: {error}") from None


def kept(folder: str, name: str) -> list[Path]:
    """The backups of an agent, the oldest first."""
    return sorted(Path(folder, name).glob(f"{name}-*{ending()}"))


def ending() -> str:
    """How the name of a backup ends; imported where it is used, for the reason that `topology` gives."""
    try:
        from openportal.cli.backups import ENDING
    except ImportError as missing:
        raise AnsibleFilterError(f"Install openportal-agents[rollout] beside ansible-core: {missing}.") from None
    return ENDING


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Any]:
        return {"backups": backups, "outdated": outdated, "handed_over": handed_over}
