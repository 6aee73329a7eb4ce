"""The objects of the module: how they compare, copy, change and refuse. What they say is told by the corpus."""

from __future__ import annotations

import copy
import datetime
import json
import pickle
from typing import Any

import pytest

import openportal as op
from openportal.client import (
    arguments,
    awards,
    errors,
    identifiers,
    instructions,
    jobs,
    notifications,
    quantities,
    reports,
    results,
    storage,
    storage_reports,
    usage,
    usage_totals,
    wrapper,
)
from openportal.errors import GrammarError
from openportal.grammar.instructions import parse_instruction
from tests.client.samples import AWARD, ID, JOB, samples

SAMPLES = samples(op)
MODULES = (awards, identifiers, jobs, notifications, quantities, storage, storage_reports, usage)
NAMED = {
    name for name, value in SAMPLES.items() if isinstance(value, wrapper.Named) or name == "MembershipControl"
}  # fmt: skip
SAME = {name for name, value in SAMPLES.items() if isinstance(value, wrapper.Same)}


@pytest.mark.parametrize("name", SAMPLES)
def test_copies_say_the_same_and_are_others(name: str) -> None:
    value = SAMPLES[name]
    for made in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert str(made) == str(value) and type(made) is type(value)
        if name in NAMED | SAME:
            assert made == value
        else:
            assert made != value
    assert any(hasattr(module, name) for module in MODULES)


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_is_the_same_as_something_of_another_kind(name: str) -> None:
    value = SAMPLES[name]
    assert value != 5 and value is not None and value not in [5, b"x"]
    if name != "MembershipControl":
        with pytest.raises(AttributeError):
            value.nonsense = 5


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_name_is_found_by_its_text(name: str) -> None:
    value = SAMPLES[name]
    assert value == str(value)
    if name not in ("QuotaLimit", "Status"):
        assert {value: 1}[str(value)] == 1


@pytest.mark.parametrize("kind", [op.ProjectUsageReport, op.UsageReport, op.ProjectStorageReport, op.StorageReport])
def test_a_report_is_read_written_and_summed_as_its_own_kind(kind: type[reports.Report]) -> None:
    report = SAMPLES[kind.__name__]
    again = kind.from_json(report.to_json())
    assert type(again) is kind and again.to_json() == report.to_json()
    assert type(kind.combine([again])) is kind
    with pytest.raises(OSError, match="there are no reports to combine"):
        kind.combine([])
    with pytest.raises(TypeError):
        kind.combine([5])  # type: ignore[list-item]


def test_seconds_that_do_not_fit_are_the_most_there_are() -> None:
    assert usage_totals.seconds_used(2**70).seconds == 2**64 - 1


def test_sizes_have_an_order() -> None:
    small, large = op.StorageSize(1), op.StorageSize(2)
    assert small < large and large >= small and op.StorageUsage(small) <= op.StorageUsage(large)
    with pytest.raises(TypeError):
        _ = small < 5  # type: ignore[operator]
    with pytest.raises(TypeError):
        _ = op.StorageUsage(small) < 5  # type: ignore[operator]


def test_what_cannot_be_made_by_its_name() -> None:
    for kind in (op.Job, op.Quota, op.QuotaLimit, op.Health, op.RestartResponse):
        with pytest.raises(TypeError, match="cannot create"):
            kind()


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda: op.UserIdentifier(5), TypeError),
        (lambda: op.UserIdentifier("a"), OSError),
        (lambda: op.Usage(1.5), TypeError),
        (lambda: op.Usage(-1), OverflowError),
        (lambda: op.Usage(2**64), OverflowError),
        (lambda: op.Usage.from_hours("1"), TypeError),
        (lambda: op.Usage(1) + 5, TypeError),
        (lambda: 5 + op.Usage(1), TypeError),
        (lambda: op.Usage(1) - 5, TypeError),
        (lambda: 5 - op.Usage(1), TypeError),
        (lambda: op.Usage(1) * "2", TypeError),
        (lambda: op.Node.construct(1, 2, 3, 4, 2**32), OverflowError),
        (lambda: op.DateRange("2024-01-01", "2024-01-02"), TypeError),
        (lambda: op.ProjectTemplate(nonsense="x"), TypeError),
        (lambda: setattr(op.Usage(1), "seconds", 5), AttributeError),
        (lambda: setattr(op.AwardDetails(), "earliest_approve", datetime.datetime(2024, 1, 1)), TypeError),
        (lambda: setattr(op.AwardDetails(), "earliest_approve", "2024"), TypeError),
        (lambda: setattr(op.AwardDetails(), "earliest_approve", NOT_UTC), ValueError),
        (lambda: setattr(op.AwardDetails(), "breakdown", None), TypeError),
        (lambda: op.ProjectUsageReport.combine([]), OSError),
        (lambda: op.ProjectUsageReport.combine([5]), TypeError),
        (lambda: op.StorageReport.combine(5), TypeError),
        (lambda: SAMPLES["ProjectUsageReport"].remap_users([]), OSError),
        (lambda: SAMPLES["Job"].result, OSError),
        (lambda: op.Job.from_json(json.dumps(JOB | {"created": 2**60})), OSError),
        (lambda: op.Job.from_json("[" * 100_000), OSError),
        (lambda: op.Notification.from_json("nonsense"), OSError),
    ],
)
def test_refusals_have_the_class_of_the_published_client(change: Any, refusal: type[Exception]) -> None:
    with pytest.raises(refusal) as refused:
        change()
    assert type(refused.value) is refusal


NOT_UTC = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))


def test_a_refusal_has_the_sentence_of_the_grammar_and_its_cause() -> None:
    with pytest.raises(OSError, match="is not of the form username") as refused:
        op.UserIdentifier("a")
    assert isinstance(refused.value.__cause__, GrammarError)
    assert arguments.told(int, "5") == 5


def test_changes_in_place() -> None:
    spent = whole = op.Usage(10)
    spent += op.Usage(5)
    spent -= op.Usage(1)
    spent *= 2
    spent.__idiv__(4)
    assert whole is spent and spent.seconds == 7
    size = op.StorageSize(1)
    size.gigabytes = 2
    used = op.StorageUsage(size)
    size.bytes = 5
    assert (used.bytes, size.bytes) == (2 * 1024**3, 5)
    node = op.Node()
    node.cpus, node.cores_per_cpu, node.gpus, node.memory_mb, node.billing = 2, 3, 4, 2048, 5
    assert (node.cores, node.memory_gb) == (6, 2.0)
    quota = op.Quota.unlimited()
    quota.limit, quota.usage = op.QuotaLimit.limited(op.StorageSize(2)), op.StorageUsage(op.StorageSize(3))
    assert quota.is_over_quota()


def test_what_an_award_gives_out_is_a_copy() -> None:
    award = op.AwardDetails(json.dumps(AWARD))
    before = award.to_json()
    assert award.members is not None and award.award is not None and award.allowed_domains is not None
    award.members["b@x.com"] = "pi"
    award.award.id = "2"
    award.notes.clear()
    award.allowed_domains.clear()
    assert award.to_json() == before
    link = award.award
    link.clear_id()
    link.clear_url()
    award.award = link
    assert link.is_empty() and award.award is None


def test_everything_of_an_award_can_be_cleared() -> None:
    award = op.AwardDetails(json.dumps(AWARD))
    award.add_note(op.Note("Jo", "hello"))
    award.set_breakdown_entry("b", "2")
    for name in (name for name in dir(award) if name.startswith("clear_")):
        getattr(award, name)()
    assert award == op.AwardDetails()


def test_ranges_are_written_out_and_what_goes_on_is_not() -> None:
    today = datetime.date.today()
    monday = today - datetime.timedelta(days=today.weekday())
    week = f"{monday}:{monday + datetime.timedelta(days=6)}"
    assert op.Instruction("get_usage_report p.w").arguments == ["p.w", week]
    assert op.Instruction("get_storage_report p.w").arguments == ["p.w", f"{today}:{today}"]
    assert str(op.Instruction("submit a.b get_usage_report p.w this_week")) == f"submit a.b get_usage_report p.w {week}"
    assert instructions.parse("add_user u.p.w") == parse_instruction("add_user u.p.w")


def test_results_that_cannot_be_sent() -> None:
    job = SAMPLES["Job"]
    mixed = [op.Volume("a"), op.Usage(1)]
    for result in (None, 5, 1.5, b"x", [True], ["a", 5], {"home": 5}, mixed, op.Status("error")):
        with pytest.raises(OSError, match="cannot be the result"):
            job.completed(result)
    assert results.encoded([]) == ("Vec<UserIdentifier>", "[]")


@pytest.mark.parametrize("kind", sorted(errors.CLASSES.keys() - {"OpenPortalError"}))
def test_a_failure_comes_back_as_it_was_raised(kind: str) -> None:
    failed = SAMPLES["Job"].errored(errors.CLASSES[kind]("why"))
    with pytest.raises(errors.CLASSES[kind], match="why") as raised:
        failed.raise_for_error()
    assert type(raised.value) is errors.CLASSES[kind]
    with pytest.raises(OSError, match="is Error"):
        failed.completed(True)


def test_a_job_remembers_its_id() -> None:
    assert SAMPLES["Job"].id == ID and hash(op.Uuid(ID)) == hash(ID)
    assert wrapper.Read().__doc__ == ""
