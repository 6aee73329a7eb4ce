"""How much a project may use, in node seconds and as Slurm counts it. PURE.

    requested   what the portal asked for
    correction  what the site bears of this month: the usage of attempts that were requeued and are not charged. Slurm
                counts it against the limit all the same, so the limit in Slurm must be higher by as much
    applied     requested + correction, as GrpTRESMins of the account: for each resource that the default node has,
                its amount x minutes

A limit of nothing stays nothing, and an account without a limit gets none from a correction. Within a month a
correction only rises: a look-up that failed, or saw less than an earlier one, lowers no limit. What Slurm cannot count
is the largest number that it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from openportal.grammar.quantities import Node

LIMIT_MAX_SECONDS: Final = 2**63 - 1
MINUTES_MAX: Final = 2**62
MINUTE_SECONDS: Final = 60

Minutes = Mapping[str, int]


def minutes_of(seconds: int, node: Node) -> dict[str, int]:
    """GrpTRESMins for so many node seconds."""
    amounts = _amounts(node)
    return {name: min(MINUTES_MAX, amount * seconds // MINUTE_SECONDS) for name, amount in amounts.items()}


def seconds_of(minutes: Minutes, node: Node) -> int | None:
    """The node seconds that GrpTRESMins allow: what the scarcest resource is enough for. None if nothing is limited."""
    amounts = _amounts(node)
    limited = [(minutes[name], amount) for name, amount in amounts.items() if name in minutes]
    found = [-(-number * MINUTE_SECONDS // amount) for number, amount in limited]
    return min(LIMIT_MAX_SECONDS, *found) if found else None


def _amounts(node: Node) -> dict[str, int]:
    """What a node has, by Slurm's names."""
    amounts = {"cpu": node.cpus, "gres/gpu": node.gpus, "mem": node.memory_mb, "billing": node.billing}
    return {name: amount for name, amount in amounts.items() if amount}


def is_applied(found: Minutes, wanted: Minutes) -> bool:
    """Whether Slurm has what it should; limits on resources that are not ours do not matter."""
    return all(found.get(name) == amount for name, amount in wanted.items())


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit of one account; `month` is what the correction belongs to, such as `2026-11`."""

    requested: int
    correction: int = 0
    month: str = ""

    @property
    def applied(self) -> int:
        """What Slurm should enforce, in node seconds."""
        if not self.requested:
            return 0
        return min(LIMIT_MAX_SECONDS, self.requested + self.correction)

    def corrected(self, absorbed: int, month: str) -> Limit:
        """With what the site was seen to bear in a month."""
        before = self.correction if month == self.month else 0
        return Limit(self.requested, max(before, absorbed), month)

    def asking(self, requested: int) -> Limit:
        """With another request; the correction stays."""
        return Limit(requested, self.correction, self.month)
