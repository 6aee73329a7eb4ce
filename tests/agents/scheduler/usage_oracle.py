"""What a window's report must be, found by looking at every second. Slow, and shares no arithmetic with the code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.agents.scheduler.slurm.windows import Window
from openportal.grammar.quantities import Node

BY_SITE = ["NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "DEADLINE", "OUT_OF_MEMORY", "TIMEOUT"]
BY_USER = ["CANCELLED", "REVOKED", "SPECIAL_EXIT", "FAILED", "COMPLETED", "SUSPENDED", "RESIZING"]


def holds(record: JobRecord, second: int, now: int) -> bool:
    """Whether the record has its nodes in this second, as it is known at `now`."""
    ran = record.started != 0 and record.elapsed > 0
    return ran and record.started <= second < (record.ended if record.ended else now) and second < now


def told(record: JobRecord, window: Window) -> bool:
    """Whether it is queued or runs in this window: a second of it is not before it nor after its end."""
    since = record.eligible if record.eligible else record.submitted
    if record.started and record.started < since:
        since = record.started
    until = record.ended if record.ended else window.end + 1
    return any(since <= second <= until for second in range(window.start, window.end))


def superseded(record: JobRecord, told_of: Sequence[JobRecord]) -> bool:
    """Whether the record that follows it under its number is of the same job."""
    order = sorted(
        (other for other in told_of if (other.cluster, other.job_id) == (record.cluster, record.job_id)),
        key=lambda other: (other.submitted, other.restarts or 0),
    )
    later = order[order.index(record) + 1 :]
    if not later:
        return False
    if record.restarts is None or later[0].restarts is None:
        return record.user == later[0].user
    return record.restarts < later[0].restarts


def ending(record: JobRecord) -> str:
    for state in [*BY_SITE, "REQUEUED", *BY_USER]:
        if state in record.states:
            return state
    return "OTHER"


def share(record: JobRecord, node: Node) -> Fraction:
    shares = [Fraction(0)]
    for held, whole in zip(
        (record.cpus, record.gpus, record.memory_mb, record.billing),
        (node.cpus, node.gpus, node.memory_mb, node.billing),
        strict=True,
    ):
        if whole:
            shares.append(Fraction(held, whole))
    return max(shares)


def figures(records: Sequence[JobRecord], window: Window, node: Node, charging: bool, now: int) -> Counter[str]:
    """Every figure of the report that is not nothing, by `field/key/key`."""
    found: Counter[str] = Counter()
    told_of = [record for record in records if told(record, window)]
    for record in told_of:
        seconds = [second for second in range(window.start, window.end) if holds(record, second, now)]
        if not seconds:
            continue
        used = 0
        for _ in seconds:
            used += share(record, node)
        used = max(1, ceil(used))
        user = record.user or "unknown"
        wait = max(0, record.started - record.eligible) if record.eligible else 0
        is_superseded = superseded(record, told_of)
        charged = is_superseded and charging and ending(record) == "REQUEUED"
        places = ["" if not is_superseded or charged else "requeue_"] + ["charged_requeue_"] * charged
        for place in places:
            found[f"{place}reports/{user}"] += used
            for second in seconds:
                assert window.start <= second < window.end
                found[f"{place}components/cpu/{user}"] += record.cpus
                found[f"{place}components/memory/{user}"] += record.memory_mb
                found[f"{place}components/gpu/{user}"] += record.gpus
                found[f"{place}components/billing/{user}"] += record.billing
        if is_superseded:
            family = "charged_requeue" if charged else "requeue"
            found[f"user_{family}_events/{user}"] += 1
            found[f"num_{family}_events"] += 1
            found[f"user_{family}_wait_seconds/{user}"] += wait
            found[f"{family}_wait_seconds"] += wait
            found[f"{family}_states/{ending(record)}"] += 1
            found[f"{family}_state_usage/{ending(record)}"] += used
        if record.reservation:
            found[f"reservation_reports/{record.reservation}/{user}"] += used
            found[f"reservation_requeue_usage/{record.reservation}/{user}"] += used * is_superseded
        if not is_superseded and window.start <= record.started < window.end:
            counts = [("job_counts", "num_jobs", 1), ("wait_seconds", "total_wait_seconds", wait)]
            counts.append(("allocated_cpus", "total_allocated_cpus", record.cpus))
            counts.append(("allocated_gpus", "total_allocated_gpus", record.gpus))
            if record.ended:
                factor = Fraction(wait + record.elapsed, record.elapsed)
                counts.append(("runtime_seconds", "total_runtime_seconds", record.elapsed))
                counts.append(("expansion_jobs", "num_expansion_jobs", 1))
                counts.append(("expansion_milli", "total_expansion_milli", int(factor * 1000)))
            for by_user, total, number in counts:
                found[f"user_{by_user}/{user}"] += number
                found[total] += number
            if record.reservation:
                found[f"reservation_jobs/{record.reservation}"] += 1
    return Counter({name: number for name, number in found.items() if number})
