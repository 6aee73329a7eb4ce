"""What a type writes it reads back as the same value; one line per type and form."""

from datetime import UTC
from typing import Any

import pytest
from grammar_samples import (
    awards,
    dates,
    destination_lists,
    destinations,
    limits,
    names,
    portals,
    project_mappings,
    projects,
    ranges,
    sizes,
    usages,
    user_mappings,
    users,
    volumes,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from usage_samples import usage_days

from openportal.grammar.awards import AwardDetails, DomainPattern, Link, MembershipControl, Note, ProjectTemplate
from openportal.grammar.daily_usage import DailyProjectUsageReport
from openportal.grammar.dates import DateRange, Timestamp
from openportal.grammar.destination import Destination, Destinations
from openportal.grammar.identifiers import (
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
    Volume,
)
from openportal.grammar.joberrors import CLASSES, OTHER_CLASS, JobFailure
from openportal.grammar.quantities import Allocation, Usage
from openportal.grammar.storage import Quota, QuotaLimit, StorageSize, StorageUsage
from openportal.grammar.storage_reports import ProjectStorageReport, Snapshot, StorageReport
from openportal.grammar.usage import ProjectUsageReport, UsageReport

moments = st.datetimes(timezones=st.just(UTC)).map(Timestamp.of)
amounts = st.floats(0, allow_infinity=False)
allocations = st.just(Allocation()) | st.builds(
    Allocation.from_size_and_units, amounts, st.sampled_from(["NHR", "gpu hours", "Foo bar"])
)
links = st.builds(Link, names | st.none(), st.sampled_from([None, "https://example.com/061", "http://x"]))
notes = st.builds(Note, moments, names, names)
patterns = st.sampled_from(["example.com", "*.example.com", "jo@example.com"]).map(DomainPattern)
full_awards = st.builds(
    AwardDetails,
    name=names | st.none(),
    project_template=st.builds(ProjectTemplate, st.from_regex(r"[a-z0-9_-]{1,9}", fullmatch=True)) | st.none(),
    members=st.dictionaries(st.sampled_from(["a@b.c", "d@e.f"]), names) | st.none(),
    end_date=dates | st.none(),
    allocation=allocations | st.none(),
    breakdown=st.dictionaries(names, names, max_size=2),
    award=links | st.none(),
    notes=st.lists(notes, max_size=2).map(tuple),
    earliest_approve=moments | st.none(),
    membership_control=st.sampled_from(MembershipControl) | st.none(),
    allowed_domains=st.lists(patterns, max_size=2).map(tuple) | st.none(),
)
storage_usages = st.builds(StorageUsage, sizes).map(str).map(StorageUsage.parse)  # as precise as it is printed
quotas = st.builds(Quota, limits, storage_usages | st.none())
quotas_by_volume = st.dictionaries(volumes, quotas, max_size=2)
PROJECT, PORTAL = ProjectIdentifier("p", "w"), PortalIdentifier("w")
members = st.sampled_from(["a", "b"]).map(lambda name: UserIdentifier(name, "p", "w"))
local_names = st.dictionaries(members, names, max_size=2)
snapshots = st.builds(
    Snapshot, st.just(PROJECT), moments, quotas_by_volume, st.dictionaries(members, quotas_by_volume, max_size=2)
)
storage_projects = st.builds(
    ProjectStorageReport, snapshots, local_names, st.dictionaries(dates, snapshots, max_size=2)
)
usage_projects = st.builds(
    ProjectUsageReport, st.just(PROJECT), st.dictionaries(dates, usage_days, max_size=2), local_names
)
failures = st.builds(
    lambda kind, message: JobFailure(kind, CLASSES.get(kind, OTHER_CLASS), message),
    st.sampled_from([*CLASSES, "run", "expired"]),
    st.from_regex(r"[a-z][a-z ]{0,8}[a-z]", fullmatch=True),
)

IN_TEXT: dict[type, st.SearchStrategy[Any]] = {
    PortalIdentifier: portals,
    ProjectIdentifier: projects,
    UserIdentifier: users,
    ProjectMapping: project_mappings,
    UserMapping: user_mappings,
    Volume: volumes,
    Destination: destinations,
    Destinations: destination_lists,
    Timestamp: moments,
    Allocation: allocations,
    QuotaLimit: limits,
    StorageUsage: storage_usages,
    MembershipControl: st.sampled_from(MembershipControl),
    DomainPattern: patterns,
    AwardDetails: awards | full_awards,
}
IN_JSON: dict[type, st.SearchStrategy[Any]] = {
    Usage: usages,
    StorageUsage: storage_usages,
    QuotaLimit: limits,
    Quota: quotas,
    Link: links.map(lambda link: Link.from_wire(link.to_wire())),
    Note: notes,
    AwardDetails: full_awards,
    Snapshot: snapshots,
    ProjectStorageReport: storage_projects,
    StorageReport: storage_projects.map(ProjectStorageReport.to_storage_report),
    DailyProjectUsageReport: usage_days,
    ProjectUsageReport: usage_projects,
    UsageReport: usage_projects.map(ProjectUsageReport.to_usage_report),
    JobFailure: failures,
}


@pytest.mark.parametrize("kind", IN_TEXT, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_what_is_printed_is_read_back(kind: Any, data: st.DataObject) -> None:
    value = data.draw(IN_TEXT[kind])
    assert kind.parse(str(value)) == value


@pytest.mark.parametrize("kind", IN_JSON, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_what_is_written_is_read_back(kind: Any, data: st.DataObject) -> None:
    value = data.draw(IN_JSON[kind])
    assert kind.from_wire(value.to_wire()) == value
    if hasattr(kind, "to_json"):
        assert kind.from_json(value.to_json()) == value


@given(ranges, dates)
def test_a_range_is_read_back_on_any_day(days: DateRange, today: Any) -> None:
    assert DateRange.parse(str(days), today) == days


@given(sizes)
def test_a_size_is_written_as_it_is_printed(size: StorageSize) -> None:
    printed = StorageSize.parse(size.to_wire())
    assert StorageSize.from_wire(printed.to_wire()) == printed
