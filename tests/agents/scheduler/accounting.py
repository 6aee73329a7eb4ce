"""Accounting records for tests: made by hand, and drawn by hypothesis."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from msgspec.structs import replace

from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.grammar.quantities import Node

NODE: Final = Node(cpus=64, gpus=4, memory_mb=128_000, billing=256)
NEVER: Final = 0
SPAN_SECONDS: Final = 120
MINUTE: Final = 60


def record(**given: Any) -> JobRecord:
    """A job of alice that got a whole node at once for a minute; `elapsed` follows from start and end."""
    made = JobRecord(
        job_id=1,
        user="alice",
        account="proj",
        cluster="c",
        partition="p",
        submitted=1000,
        eligible=1000,
        started=1000,
        ended=1000 + MINUTE,
        elapsed=MINUTE,
        states=("COMPLETED",),
        cpus=64,
        billing=256,
        nodes=1,
        restarts=0,
    )
    changed = replace(made, **given)
    if "elapsed" in given:
        return changed
    return replace(changed, elapsed=max(0, changed.ended - changed.started) if changed.started else 0)


STATES: Final = st.sampled_from(
    [("COMPLETED",), ("REQUEUED",), ("PENDING", "REQUEUED"), ("NODE_FAIL", "REQUEUED"), ("PREEMPTED",), ("FAILED",),
     ("CANCELLED",), ("A_STATE_OF_TOMORROW",), ("OUT_OF_MEMORY",), ("TIMEOUT",)]
)  # fmt: skip


@st.composite
def jobs(draw: st.DrawFn, job_id: int, now: int) -> list[JobRecord]:
    """The attempts of one job, one after the other; the last may wait, run, or never have run."""
    held = {
        "cpus": draw(st.integers(0, 200)),
        "gpus": draw(st.integers(0, 9)),
        "memory_mb": draw(st.integers(0, 300_000)),
        "billing": draw(st.integers(0, 999)),
        "user": draw(st.sampled_from(["alice", "bob", ""])),
        "reservation": draw(st.sampled_from(["", "", "interactive"])),
    }
    tells_restarts = draw(st.booleans())
    restarts = draw(st.integers(0, 3))
    moment = draw(st.integers(1, now))
    found = []
    for number in range(draw(st.integers(1, 4))):
        submitted = moment
        eligible = draw(st.sampled_from([submitted, submitted + draw(st.integers(0, 20)), NEVER]))
        started = max(submitted, eligible) + draw(st.integers(0, 40))
        if draw(st.integers(0, 9)) == 0:
            eligible = started + draw(st.integers(0, 200))  # it was put off, and then started all the same
        ended = started + draw(st.integers(0, 90))
        if ended > now:
            break
        moment = ended
        given = {"submitted": submitted, "eligible": eligible, "states": draw(STATES), "restarts": restarts + number}
        if not tells_restarts:
            given["restarts"] = None
        found.append(record(job_id=job_id, started=started, ended=ended, **given, **held))
    last = draw(st.sampled_from(["ended", "running", "pending"]))
    if last != "ended":
        started = moment + draw(st.integers(0, 20)) if last == "running" else NEVER
        given = {"submitted": moment, "eligible": moment, "started": started, "ended": NEVER}
        number = restarts + len(found)
        elapsed = max(0, now - started) if started else 0
        found.append(
            record(
                job_id=job_id,
                elapsed=elapsed,
                states=("RUNNING" if started else "PENDING",),
                restarts=number if tells_restarts else None,
                **given,
                **held,
            )
        )
    return found


@st.composite
def histories(draw: st.DrawFn, numbers_used_once: bool = False) -> tuple[list[JobRecord], int]:
    """What slurmdbd holds at a moment of the first 2 x SPAN_SECONDS seconds, and that moment."""
    now = draw(st.integers(SPAN_SECONDS // 2, 2 * SPAN_SECONDS))
    numbers = draw(st.lists(st.integers(1, 5), max_size=4, unique=numbers_used_once))
    found = {one.key: one for number in numbers for one in draw(jobs(number, now))}
    return draw(st.permutations(list(found.values()))), now
