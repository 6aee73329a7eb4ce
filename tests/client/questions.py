"""Questions for both clients: what hypothesis makes of every type and every instruction.

Most are near what is valid, because that is where two parsers come apart: a valid text with one character changed, a
document with one field replaced. `QUESTIONS[type, op]` makes the input of `asked.ASKED[type, op]`.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.client.asked import CHANGES, FAILURES, ID, JOB, RESULTS, TEXTS

VECTORS = Path(__file__).parent.parent / "vectors"
VERBS = json.loads((VECTORS / "verbs.json").read_text())
NASTY = ".:-_@ /+*[]{}\"',;0189aZé日 \t\n\u00a0\u2003\x1c"
Made = st.SearchStrategy[Any]


@st.composite
def near(draw: Any, *texts: str) -> str:
    """One of the texts, as it is or with a character changed, added or taken away."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 1))
        text = text[:at] + draw(st.sampled_from(["", *NASTY])) + text[at + cut :]
    return text


part = st.one_of(
    st.sampled_from(["w", "demo", "A-b_9", "alice", "x" * 64, "x" * 65]), near("alice"), st.text(NASTY, max_size=6)
)
portal = part
project = st.builds(".".join, st.lists(part, min_size=1, max_size=3)) | near("demo.brics")
user = st.builds(".".join, st.lists(part, min_size=2, max_size=4)) | near("alice.demo.brics")
local = near("alice", "alice.demo", "a-b_c.d", "jo.b+x@example.co.uk", "jo@a-b.com")
mapping = st.builds(":".join, st.tuples(near("demo.brics"), local)) | near("demo.brics:grp")
user_mapping = st.builds(":".join, st.tuples(near("alice.demo.brics"), local, near("grp", "g.h")))
destination = st.builds(".".join, st.lists(near("a", "brics", "aip1"), min_size=1, max_size=4)) | near("a.b.c")
size = near("10 GB", "1.5TB", "1024", "5 bytes", "0B", "10.00 MB", "unlimited", "16384PB", "1e3 KB", ".5 GB")
number = st.one_of(st.integers(0, 100_000), st.integers(0, 2**64 - 1), st.integers(-2, 2**65))
real = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1000), st.integers(-5, 5))
dates = st.dates().map(str)
date_text = near("2024-01-31", "1970-01-01", "2200-12-31", "2024-02-29") | st.dates().map(str)
date_range = st.builds("{}:{}".format, date_text, date_text) | date_text
year = st.integers(1970, 2200)
short_range = st.builds(
    lambda start, days: f"{start}:{start.fromordinal(start.toordinal() + days)}",
    st.dates(min_value=datetime.date(1970, 1, 1), max_value=datetime.date(2190, 1, 1)),
    st.integers(0, 2000),
)
allocation = near("1000 NHR", "10.5 node hours", "none", "1e3 GPU hours", "3 foo bar", "No allocation", "+5 BHR")
domain = near("example.com", "*.example.com", "jo@example.com", "a-b.c", "localhost")
url = near("http://x", "https://example.com/a?b#c", "ftp://x", "http://[::1]:80/", "HTTPS://u:p@x.y:8080", "//x", "x")
email = near("jo@example.com", "a.b+c@d-e.org")
moment = near("2024-01-15T10:30:00Z", "2024-01-15T10:30:00.5+01:00", "2024-01-15t10:30:60z")


# Documents.


def optional(**fields: Made) -> Made:
    return st.fixed_dictionaries({}, optional=fields)


odd = st.none() | st.booleans() | st.integers(-3, 3) | st.text(NASTY, max_size=3) | st.just([]) | st.just({})


def field(made: Made) -> Made:
    """Mostly what it should be."""
    return st.integers(0, 9).flatmap(lambda dice: odd if dice == 0 else made)


link = optional(id=field(near("061", " ")), url=field(url))
note = st.fixed_dictionaries({"timestamp": moment, "author": st.sampled_from(["Jo", ""]), "text": st.text(max_size=5)})
award = optional(
    name=field(near("My project", "")),
    template=field(near("cpu-cluster", "a b")),
    key=field(near("k")),
    description=field(st.text(max_size=8)),
    members=field(st.dictionaries(email, st.sampled_from(["pi", "member", ""]), max_size=3)),
    start_date=field(date_text),
    end_date=field(date_text),
    allocation=field(allocation),
    breakdown=field(st.dictionaries(st.text("ab", max_size=2), st.text("12", max_size=2), max_size=2)),
    award=field(link),
    call=field(link),
    renewal=field(link),
    notes=field(st.lists(note, max_size=3)),
    earliest_approve=field(moment),
    membership_control=field(st.sampled_from(["open", "members_only", "roles_only", "locked", "Open"])),
    allowed_domains=field(st.lists(domain, max_size=3)),
    unknown=odd,
)
valid_award = optional(
    name=st.just("My project"),
    template=st.sampled_from(["x", "y"]),
    members=st.dictionaries(st.sampled_from(["a@x.com", "b@y.com"]), st.sampled_from(["pi", "m"]), max_size=2),
    allocation=st.sampled_from(["10 NHR", "none"]),
    breakdown=st.dictionaries(st.text("ab", max_size=2), st.text("12", max_size=2), max_size=2),
    notes=st.lists(
        st.builds(
            lambda hour: {"timestamp": f"2024-01-15T0{hour}:30:00Z", "author": "J", "text": "t"}, st.integers(0, 3)
        ),
        max_size=3,
    ),
    allowed_domains=st.lists(st.sampled_from(["x.com", "*.y.com", "a@x.com"]), max_size=2, unique=True),
    membership_control=st.sampled_from(["open", "locked"]),
    start_date=st.just("2024-01-01"),
    award=st.sampled_from([{"id": "1"}, {"url": "http://x"}]),
)
count = st.integers(0, 50) | st.integers(0, 10**6) | st.sampled_from([2**63, 2**64 - 1])
small = st.integers(0, 5000)
names = st.sampled_from(["alice", "bob", "unknown", "z.z"])


def counts(keys: Made, values: Made = small) -> Made:
    return st.dictionaries(keys, values, max_size=3)


def usages(keys: Made) -> Made:
    return counts(keys, st.builds(lambda seconds: {"seconds": seconds}, count))


component = st.sampled_from(["gpu", "cpu"])
state = st.sampled_from(["NODE_FAIL", "PREEMPTED"])
reservation = st.sampled_from(["r1", "r2"])
DAY: dict[str, Made] = {
    "reports": usages(names), "components": st.dictionaries(component, usages(names), max_size=2),
    "user_job_counts": counts(names), "user_wait_seconds": counts(names), "num_jobs": small,
    "total_wait_seconds": count, "user_expansion_milli": counts(names), "total_expansion_milli": count,
    "user_runtime_seconds": counts(names), "total_runtime_seconds": count, "user_expansion_jobs": counts(names),
    "num_expansion_jobs": small, "user_allocated_cpus": counts(names), "total_allocated_cpus": small,
    "user_allocated_gpus": counts(names), "total_allocated_gpus": small, "requeue_reports": usages(names),
    "requeue_components": st.dictionaries(component, usages(names), max_size=2),
    "user_requeue_events": counts(names), "num_requeue_events": small, "user_requeue_wait_seconds": counts(names),
    "requeue_wait_seconds": small, "requeue_states": counts(state), "requeue_state_usage": usages(state),
    "charged_requeue_reports": usages(names), "user_charged_requeue_events": counts(names),
    "charged_requeue_components": st.dictionaries(component, usages(names), max_size=2),
    "num_charged_requeue_events": small, "user_charged_requeue_wait_seconds": counts(names),
    "charged_requeue_wait_seconds": small, "charged_requeue_states": counts(state),
    "charged_requeue_state_usage": usages(state),
    "reservation_reports": st.dictionaries(reservation, usages(names), max_size=2),
    "reservation_requeue_usage": st.dictionaries(reservation, usages(names), max_size=2),
    "reservation_jobs": counts(reservation), "is_complete": st.booleans(),
}  # fmt: skip
a_day = optional(**DAY)
odd_day = optional(**{name: field(made) for name, made in DAY.items()})
a_date = st.sampled_from(["2024-01-15", "2024-01-16", "2024-02-29"])
mapped = st.dictionaries(st.sampled_from(["alice.p.w", "bob.p.w"]), names, max_size=2)


def usage_of(day: Made, days: Made = a_date, least: int = 0, name: str = "p.w") -> Made:
    return st.fixed_dictionaries(
        {"project": st.just(name), "reports": st.dictionaries(days, day, min_size=least, max_size=2), "users": mapped}
    )


project_usage = usage_of(a_day, least=1)
odd_usage = st.fixed_dictionaries(
    {},
    optional={
        "project": near("p.w"), "reports": st.dictionaries(a_date | date_text, odd_day, max_size=2),
        "users": field(st.dictionaries(near("alice.p.w"), names, max_size=2)), "extra": odd,
    },
)  # fmt: skip
portal_usage = st.fixed_dictionaries(
    {"portal": st.just("w"), "reports": optional(**{"p.w": usage_of(a_day), "q.w": usage_of(a_day, name="q.w")})}
)
odd_portal = st.fixed_dictionaries(
    {}, optional={"portal": near("w"), "reports": field(optional(**{"p.w": odd_usage, "p.z": odd_usage}))}
)
quota = st.fixed_dictionaries(
    {"limit": st.sampled_from(["unlimited", "10 GB", "1.5TB"])}, optional={"usage": st.sampled_from(["1 GB", "20 GB"])}
)
odd_quota = optional(limit=field(size), usage=field(size | number))
volume = st.sampled_from(["home", "scratch"])
quotas = st.dictionaries(volume, quota, max_size=2)


def storage_of(quotas: Made, at: Made) -> Made:
    return st.fixed_dictionaries(
        {
            "project": st.just("p.w"), "generated_at": at, "project_quotas": quotas, "users": mapped,
            "user_quotas": st.dictionaries(st.sampled_from(["alice.p.w", "bob.p.w"]), quotas, max_size=2),
        }
    )  # fmt: skip


times = st.builds("2024-03-{:02}T{:02}:00:00Z".format, st.integers(8, 12), st.integers(0, 23))


def with_days(report: Made) -> Made:
    snapshot = report.map(lambda found: {key: found[key] for key in found if key != "users"})
    earlier = snapshot.map(lambda found: {**found, "generated_at": "2024-02-1" + found["generated_at"][9:]})
    dated = st.lists(earlier, max_size=2).map(lambda found: {each["generated_at"][:10]: each for each in found})
    return st.builds(lambda now, days: {**now, "daily_reports": days} if days else now, report, dated)


storage = with_days(storage_of(quotas, times))
odd_storage = storage_of(field(st.dictionaries(near("home"), odd_quota, max_size=2)), moment)

# Jobs.

commands = st.builds("{} {}".format, near("a.b"), near("get_offerings", "add_user u.p.w", "submit c.d get_users p.w"))
failure = st.fixed_dictionaries(
    {"kind": st.sampled_from(["award_pending", "unsupported", "run", "zzz"]), "message": near("msg", "OpenPortalError")}
)
prose = near("ManagedProjectPendingError: x", "RuntimeError{ManagedProjectRejectedError: y}", "RuntimeError{z}", "boom")
a_job = st.builds(
    lambda changes: {**JOB, **changes},
    optional(
        state=field(st.sampled_from(["Created", "Pending", "Running", "Complete", "Error"])),
        result=field(prose),
        result_type=field(st.sampled_from(["None", "Error", "bool", "String"])),
        command=field(commands),
        id=field(near(ID)),
        version=field(st.integers(0, 2**63)),
        created=field(st.integers(-(10**9), 10**10)),
        expires=field(st.sampled_from([1, 4102444800])),
        forwarded_for=field(destination),
        error=field(failure),
        domain=field(st.just("hpc")),
    ),
)
DECODABLE: dict[str, Made] = {
    "bool": st.booleans(), "String": st.text(max_size=4), "UserIdentifier": user, "ProjectIdentifier": project,
    "PortalIdentifier": portal, "UserMapping": user_mapping, "ProjectMapping": mapping,
    "Usage": st.builds(lambda seconds: {"seconds": seconds}, number), "ProjectTemplate": near("cpu"),
    "DateRange": short_range, "ProjectDetails": award, "StorageSize": size | number, "StorageUsage": size | number,
    "QuotaLimit": size, "Quota": odd_quota, "Volume": near("home"), "None": odd,
    "UsageReport": odd_portal, "ProjectUsageReport": odd_usage, "ProjectStorageReport": odd_storage,
    "HashMap<Volume, Quota>": st.dictionaries(near("home"), odd_quota, max_size=2),
}  # fmt: skip
LISTED = (
    "String", "UserIdentifier", "ProjectIdentifier", "PortalIdentifier", "UserMapping", "ProjectMapping",
    "ProjectDetails", "Quota", "Volume", "StorageSize", "StorageUsage", "QuotaLimit",
)  # fmt: skip


@st.composite
def results(draw: Any) -> Any:
    kind = draw(st.sampled_from(sorted(DECODABLE)))
    if kind in LISTED and draw(st.booleans()):
        found = draw(st.lists(DECODABLE[kind], max_size=2))
        return {"result_type": f"Vec<{kind}>", "result": json.dumps(found)}
    return {"result_type": kind, "result": json.dumps(draw(DECODABLE[kind]))}


# Instructions.

WORD: dict[str, Made] = {
    "user": near("u.p.w"), "project": near("p.w"), "portal": near("w"), "user mapping": near("u.p.w:lu:lg"),
    "mapping": near("p.w:lg"), "volume": near("home"), "size": size, "limit": near("3600", "10 hours", "5 d"),
    "range": short_range | date_range, "award": st.builds(json.dumps, award), "path": near("/home/u"),
    "offerings": near("[a.b.c, d.e.f]", "a.b.c"), "inner": near("a.b add_user u.p.w", "a.b get_offerings"),
}  # fmt: skip


@st.composite
def instructions(draw: Any) -> str:
    """A verb and some arguments: those that it may take, or others."""
    verb = draw(st.sampled_from(VERBS))
    first = draw(st.sampled_from(_firsts(verb)))
    words = [verb, *([] if first is None else [draw(WORD[first])])]
    for kind in draw(st.lists(st.sampled_from(["volume", "size", "limit", "range", "award", "path"]), max_size=2)):
        words.append(draw(WORD[kind]))
    return draw(st.sampled_from([" ", " ", " ", "  "])).join(words)


def _firsts(verb: str) -> list[str | None]:
    subjects: list[str | None] = ["user", "project", "portal", "user mapping", "mapping", "offerings", "inner", None]
    if "local" in verb:
        return ["user mapping", "mapping", *subjects]
    if "offerings" in verb:
        return ["offerings", "offerings", *subjects]
    if verb == "submit":
        return ["inner", "inner", "inner", *subjects]
    return ["user", "user", "project", "project", "portal", *subjects]


def texts(made: Made) -> Made:
    """A document as its text, which at times is not one."""
    return st.builds(json.dumps, made) | near('{"portal":"w","reports":{}}', "[]", "null", "")


event = st.sampled_from(["UserAdded", "UserBlocked", "ProjectRemoved", "AwardAccepted", "Nope"])
notification = optional(
    id=field(near(ID)), destination=field(near("a.b")), domain=field(st.just("hpc")),
    event=field(st.dictionaries(event, near("u.p.w", "p.w"), max_size=2)),
)  # fmt: skip
SETS: dict[str, Made] = {
    "name": st.none() | near("My project", " "),
    "key": st.none() | near("k"),
    "description": st.text(max_size=4),
    "members": st.none() | st.dictionaries(email, st.sampled_from(["pi", " "]), max_size=2),
    "start_date": st.none() | dates,
    "end_date": dates,
    "allocation": st.none() | allocation,
    "project_template": st.none() | near("cpu"),
    "breakdown": st.dictionaries(st.text("ab", max_size=2), st.text("1", max_size=1)),
    "membership_control": st.sampled_from(["open", "locked", "x"]),
    "allowed_domains": st.none() | st.lists(domain, max_size=2),
    "add_members": st.dictionaries(email, st.just("pi"), max_size=2),
    "remove_member": email,
    "add_allowed_domain": domain,
    "remove_breakdown_entry": st.text("ab", max_size=2),
    "clear_name": st.none(),
    "clear_members": st.none(),
    "clear_notes": st.none(),
    "clear_allowed_domains": st.none(),
}
a_set = st.sampled_from(sorted(SETS)).flatmap(lambda name: SETS[name].map(lambda value: [name, value]))
VALUES: dict[str, Made] = {
    "PortalIdentifier": st.sampled_from(["w", " w", "v"]),
    "ProjectIdentifier": st.sampled_from(["p.w", "p. w", "q.w"]),
    "UserIdentifier": st.sampled_from(["u.p.w", "u.p.w ", "v.p.w"]),
    "Destination": st.sampled_from(["a.b", "a..b", "b.a"]),
    "Volume": st.sampled_from(["home", "scratch"]),
    "Uuid": st.sampled_from([ID, ID.upper(), ID.replace("a", "b")]),
    "Status": st.sampled_from(["pending", "error"]),
    "ProjectTemplate": st.sampled_from(["cpu", " cpu", "gpu"]),
    "DomainPattern": st.sampled_from(["a.com", "A.com", "*.a.com"]),
    "QuotaLimit": st.sampled_from(["1GB", "1024 MB", "unlimited"]),
    "Quota": st.sampled_from(["1GB", "1024 MB", "unlimited"]),
    "Allocation": st.sampled_from(["1 NHR", "1.0 node hours", "none"]),
    "StorageSize": st.sampled_from(["1GB", "1024 MB", "2 B"]),
    "DateRange": st.sampled_from(["2024-01-01", "2024-01-01:2024-01-01", "2024-01-02"]),
    "UserMapping": st.sampled_from(["u.p.w:a:b", "u.p.w: a:b"]),
    "ProjectMapping": st.sampled_from(["p.w:a", "p.w:b"]),
    "Instruction": st.sampled_from(["get_awards w", "list_awards w", "add_user u.p.w"]),
}
pairs = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.tuples(st.just(kind), VALUES[kind], VALUES[kind]).map(list)
)
assert set(TEXTS) <= set(VALUES)

node = st.lists(st.integers(0, 200) | st.integers(-1, 2**32), min_size=5, max_size=5)
hours = {"node": st.lists(st.integers(0, 200), min_size=5, max_size=5), "allocation": allocation}
from_hours = {"node": st.lists(st.integers(0, 200), min_size=5, max_size=5), "usage_seconds": st.integers(0, 10**12)}
about_day = st.fixed_dictionaries({"report": project_usage, "user": names, "name": component | state | reservation})
factor = st.floats(-2, 1000) | st.sampled_from([0.0, 1.0, 1 / 3, 49.0, 1e300])

QUESTIONS: dict[tuple[str, str], Made] = {
    ("PortalIdentifier", "parse"): portal,
    ("ProjectIdentifier", "parse"): project,
    ("UserIdentifier", "parse"): user,
    ("ProjectMapping", "parse"): mapping,
    ("UserMapping", "parse"): user_mapping,
    ("Destination", "parse"): destination,
    ("Volume", "new"): near("home"),
    ("Volume", "parse"): near("home"),
    ("ProjectTemplate", "parse"): near("cpu-cluster"),
    ("Uuid", "parse"): near(ID, ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}"),
    ("Status", "parse"): near("pending", "error"),
    ("MembershipControl", "parse"): near("open", "members_only"),
    ("StorageSize", "parse"): size,
    ("StorageSize", "from_bytes"): number,
    **{("StorageSize", f"from_{unit}bytes"): real for unit in ("kilo", "mega", "giga", "tera", "peta")},
    ("QuotaLimit", "parse"): size,
    ("Quota", "parse"): size,
    ("Quota", "with_usage"): st.tuples(size, size).map(list),
    ("Usage", "new"): number,
    **{("Usage", f"from_{unit}"): real for unit in ("minutes", "hours", "days", "weeks", "months", "years")},
    ("Usage", "add"): st.tuples(number, number).map(list),
    ("Usage", "sub"): st.tuples(number, number).map(list),
    ("Usage", "mul"): st.tuples(number, real).map(list),
    ("Usage", "div"): st.tuples(number, real).map(list),
    ("Allocation", "canonicalize"): near("node hours", "NHR", "gpu hour"),
    ("Allocation", "parse"): allocation,
    ("Allocation", "from_size_and_units"): st.tuples(real, near("NHR", "gb hours", "foo")).map(list),
    ("Node", "construct"): node,
    ("Node", "allocation_to_hours"): st.fixed_dictionaries(hours),
    **{("Node", f"allocation_to_{what}_hours"): st.fixed_dictionaries(hours) for what in ("core", "gpu", "cpu", "gb")},
    **{
        ("Node", f"allocation_from_{what}_hours"): st.fixed_dictionaries(from_hours)
        for what in ("core", "gpu", "cpu", "gb", "billing")
    },
    ("DateRange", "parse"): date_range | short_range,
    ("DateRange", "new"): st.tuples(dates, dates).map(list),
    **{("DateRange", unit): dates for unit in ("week", "month", "year")},
    ("DomainPattern", "parse"): domain,
    ("DomainPattern", "matches"): st.tuples(domain, domain).map(list),
    ("Instruction", "parse"): instructions(),
    ("Notification", "parse"): st.builds("{} {} {}".format, near("a.b"), near("user_added"), near("u.p.w")),
    ("Notification", "from_json"): texts(notification),
    ("Job", "from_json"): texts(a_job),
    ("Job", "result"): results(),
    ("Job", "completed"): st.sampled_from(sorted(RESULTS)),
    ("Job", "errored"): st.sampled_from(sorted(FAILURES)),
    ("error_from_message", "call"): prose,
    ("AwardDetails", "from_json"): texts(award),
    ("AwardDetails", "merge"): st.tuples(valid_award, valid_award).map(list),
    ("AwardDetails", "changed"): st.fixed_dictionaries({"award": valid_award, "set": st.lists(a_set, max_size=3)}),
    ("AwardDetails", "add_member"): st.fixed_dictionaries(
        {"award": valid_award, "email": email, "role": st.sampled_from(["pi", ""])}
    ),
    ("AwardDetails", "is_email_allowed"): st.fixed_dictionaries(
        {"allowed_domains": st.none() | st.lists(domain, max_size=2), "email": email}
    ),
    ("Link", "set_url"): url,
    ("Link", "set_id"): near("061", " "),
    ("ProjectUsageReport", "from_json"): texts(odd_usage),
    ("ProjectUsageReport", "project"): about_day,
    ("ProjectUsageReport", "changed"): st.fixed_dictionaries(
        {"report": project_usage, "change": st.sampled_from(sorted(CHANGES)), "factor": factor}
    ),
    ("ProjectUsageReport", "remap_users"): st.fixed_dictionaries({"report": project_usage, "names": mapped}),
    ("ProjectUsageReport", "sum"): st.tuples(project_usage, project_usage).map(list),
    ("DailyProjectUsageReport", "daily"): about_day,
    ("UsageReport", "from_json"): texts(odd_portal),
    ("UsageReport", "sum"): st.tuples(portal_usage, portal_usage).map(list),
    ("ProjectStorageReport", "from_json"): texts(odd_storage),
    ("ProjectStorageReport", "sum"): st.tuples(storage, storage).map(list),
    ("Named", "compared"): pairs,
}
