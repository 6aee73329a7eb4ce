"""What was asked of the published client, line by line of the corpus: `ASKED[type, op](module, input)`.

The same program asks the wheel in its own environment (oracle.py) and our module in this process, so it may import
nothing but the standard library: `module` is whichever `openportal` is asked. What it returns is JSON.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

Ask = Callable[[Any, Any], Any]

ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
JOB = {
    "id": ID, "created": 1700000000, "changed": 1700000005, "expires": 1700000120, "version": 2,
    "command": "a.b get_offerings", "state": "Pending", "result": None, "result_type": None,
}  # fmt: skip
STORAGE = (
    '{"project":"p.w","generated_at":"2024-03-10T14:23:00Z","project_quotas":{"home":{"limit":"unlimited"}},'
    '"user_quotas":{},"users":{}}'
)


def shown(value: Any) -> Any:
    """A value as JSON: what JSON has no word for is shown as its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [shown(each) for each in value]
    if isinstance(value, dict):
        return {str(key): shown(each) for key, each in sorted(value.items(), key=lambda item: str(item[0]))}
    return str(value)


def answer(ask: Ask, module: Any, given: Any) -> dict[str, Any]:
    """What came of it: `ok` and the output, or the class of the exception and its text."""
    try:
        return {"ok": True, "output": shown(ask(module, given))}
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # whatever it is, it is the answer; Rust's panics are no Exception
        return {"ok": False, "error_class": type(error).__name__, "error": str(error)}


def attributes(value: Any, names: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        try:
            attribute = getattr(value, name)
            found[name] = attribute() if callable(attribute) else attribute
        except Exception as error:
            found[name] = {"error_class": type(error).__name__, "error": str(error)}
    return found


def parsed(kind: str, *names: str, by: str | None = None) -> Ask:
    """Makes a `kind` of a text, by its constructor or a static method, and shows its text and attributes."""

    def ask(module: Any, given: Any) -> Any:
        maker = getattr(module, kind) if by is None else getattr(getattr(module, kind), by)
        value = maker(*given) if isinstance(given, list) else maker(given)
        return {"str": str(value), **attributes(value, names)}

    return ask


# Ranges of dates.


def dates(value: Any) -> Any:
    found = {"str": str(value), "n_days": len(value.days)}
    for name in ("start_date", "end_date", "start_time", "end_time"):
        found[name] = getattr(value, name)
    for name in ("weeks", "months", "years"):
        found[name] = [str(each) for each in getattr(value, name)][:60]
    return found


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


# Quotas, allocations, awards.

QUOTA = ("limit", "usage", "is_unlimited", "is_over_quota", "percentage_used")
ALLOCATION = (
    "size", "units", "is_empty", "is_node_hours", "is_core_hours", "is_gpu_hours", "is_cpu_hours", "is_gb_hours",
    "is_billing_hours",
)  # fmt: skip
NODE = ("cpus", "cores_per_cpu", "cores", "gpus", "memory_mb", "memory_gb", "billing")
AWARD = (
    "name", "project_template", "key", "description", "members", "start_date", "end_date", "allocation", "breakdown",
    "award", "call", "project_link", "renewal", "notes", "earliest_approve", "membership_control", "allowed_domains",
    "can_change_membership", "can_change_roles",
)  # fmt: skip


def quota_with_usage(module: Any, given: Any) -> Any:
    limit, usage = given
    size = module.StorageSize.parse(usage)
    quota = module.Quota.with_usage(module.QuotaLimit.parse(limit), module.StorageUsage(size))
    return {"str": str(quota), **attributes(quota, QUOTA)}


def quota_again(module: Any, given: str) -> Any:
    quota = module.Quota.parse(given)
    return {"str": str(quota), "repr": repr(quota), "reparsed": str(module.Quota.parse(str(quota)))}


def allocation_to(name: str) -> Ask:
    def ask(module: Any, given: Any) -> Any:
        allocation = module.Allocation.parse(given["allocation"])
        return getattr(allocation, name)(module.Node.construct(*given["node"])).seconds

    return ask


def allocation_from(name: str) -> Ask:
    def ask(module: Any, given: Any) -> Any:
        usage, node = module.Usage(given["usage_seconds"]), module.Node.construct(*given["node"])
        return str(getattr(module.Allocation, name)(usage, node))

    return ask


def to_node_hours(module: Any, given: Any) -> Any:
    return {"to_node_hours": allocation_to("to_node_hours")(module, given)}


def award(module: Any, given: str) -> Any:
    value = module.AwardDetails.from_json(given)
    return {"json_text": value.to_json(), "str": str(value), "props": attributes(value, AWARD)}


def merged(module: Any, given: Any) -> Any:
    one, other = (module.AwardDetails(json.dumps(each)) for each in given)
    return one.merge(other).to_json()


def with_member(module: Any, given: Any) -> Any:
    value = module.AwardDetails(json.dumps(given["award"]))
    value.add_member(given["email"], given["role"])
    return value.to_json()


def allows(name: str, key: str) -> Ask:
    def ask(module: Any, given: Any) -> Any:
        value = module.AwardDetails(json.dumps({"allowed_domains": given["allowed_domains"]}))
        return getattr(value, name)(given[key])

    return ask


def link_url(module: Any, given: str) -> Any:
    link, value = module.Link(), module.AwardDetails("{}")
    link.url = given
    value.award = link
    return {"url": link.url, "str": str(link), "award_json": json.loads(value.to_json())["award"]}


def link_id(module: Any, given: str) -> Any:
    link = module.Link()
    link.id = given
    return {"id": link.id, "str": str(link), "is_empty": link.is_empty()}


# Instructions, notifications, jobs.


def instruction(module: Any, given: str) -> Any:
    value = module.Instruction(given)
    return {"str": str(value), "command": value.command, "arguments": value.arguments}


def notification_text(module: Any, given: str) -> Any:
    names = ("destination", "event", "event_type", "event_argument", "__str__")
    return attributes(module.Notification.parse(given), names)


def notification(module: Any, given: str) -> Any:
    value = module.Notification.from_json(given)
    found = attributes(value, ("id", "destination", "event", "event_type", "event_argument"))
    return {**found, "json": json.loads(value.to_json())}


JOB_ATTRIBUTES = (
    "id", "destination", "forwarded_for", "instruction", "state", "version", "created", "changed", "is_finished",
    "is_error", "is_expired", "is_duplicate", "error_message", "progress_message", "error_kind", "result_type",
    "__str__",
)  # fmt: skip


def job(module: Any, given: str) -> Any:
    value = module.Job.from_json(given)
    error = value.error
    found = attributes(value, JOB_ATTRIBUTES) | {
        "json": json.loads(value.to_json()),
        "error_class": None if error is None else type(error).__name__,
        "error_str": None if error is None else str(error),
    }
    try:
        found["result"] = {"type": type(value.result).__name__, "value": shown(value.result)}
    except Exception as failed:
        found["result"] = {"error_class": type(failed).__name__, "error": str(failed)}
    return found


def with_job(module: Any, **changes: Any) -> Any:
    return module.Job.from_json(json.dumps({**JOB, **changes}))


def result(module: Any, given: Any) -> Any:
    value = with_job(module, state="Complete", **given).result
    return {
        "python_type": type(value).__name__,
        "value": shown(value),
        "element_type": type(value[0]).__name__ if isinstance(value, list) and value else None,
    }


RESULTS: dict[str, Ask] = {
    "bool": lambda o, _: True,
    "int": lambda o, _: 5,
    "float": lambda o, _: 1.5,
    "None": lambda o, _: None,
    "str": lambda o, _: "hi",
    "UserIdentifier": lambda o, _: o.UserIdentifier("u.p.w"),
    "ProjectIdentifier": lambda o, _: o.ProjectIdentifier("p.w"),
    "PortalIdentifier": lambda o, _: o.PortalIdentifier("w"),
    "UserMapping": lambda o, _: o.UserMapping("u.p.w:a:b"),
    "ProjectMapping": lambda o, _: o.ProjectMapping("p.w:g"),
    "Usage": lambda o, _: o.Usage(3600),
    "DateRange": lambda o, _: o.DateRange.parse("2024-01-01:2024-01-31"),
    "ProjectTemplate": lambda o, _: o.ProjectTemplate("cpu"),
    "AwardDetails": lambda o, _: o.AwardDetails('{"name":"x"}'),
    "StorageSize": lambda o, _: o.StorageSize.parse("10GB"),
    "StorageUsage": lambda o, _: o.StorageUsage(o.StorageSize.parse("10GB")),
    "QuotaLimit": lambda o, _: o.QuotaLimit.parse("10GB"),
    "QuotaLimit_unlimited": lambda o, _: o.QuotaLimit.unlimited(),
    "Quota": lambda o, _: o.Quota.with_usage(o.QuotaLimit.parse("10GB"), o.StorageUsage(o.StorageSize.parse("5GB"))),
    "Quota_unlimited": lambda o, _: o.Quota.unlimited(),
    "Volume": lambda o, _: o.Volume("home"),
    "UsageReport": lambda o, _: o.UsageReport(o.PortalIdentifier("w")),
    "ProjectUsageReport": lambda o, _: o.ProjectUsageReport(o.ProjectIdentifier("p.w")),
    "ProjectStorageReport": lambda o, _: o.ProjectStorageReport.from_json(STORAGE),
    "StorageReport": lambda o, _: o.StorageReport(o.PortalIdentifier("w")),
    "Destination": lambda o, _: o.Destination("a.b"),
    "Allocation": lambda o, _: o.Allocation.parse("10 NHR"),
    "Uuid": lambda o, _: o.Uuid(ID),
    "DomainPattern": lambda o, _: o.DomainPattern("a.com"),
    "list_empty": lambda o, _: [],
    "list_str": lambda o, _: ["a", "b"],
    "list_UserIdentifier": lambda o, _: [o.UserIdentifier("u.p.w")],
    "list_ProjectIdentifier": lambda o, _: [o.ProjectIdentifier("p.w")],
    "list_PortalIdentifier": lambda o, _: [o.PortalIdentifier("w")],
    "list_UserMapping": lambda o, _: [o.UserMapping("u.p.w:a:b")],
    "list_ProjectMapping": lambda o, _: [o.ProjectMapping("p.w:g")],
    "list_AwardDetails": lambda o, _: [o.AwardDetails('{"name":"x"}')],
    "list_Usage": lambda o, _: [o.Usage(1)],
    "list_Quota": lambda o, _: [o.Quota.unlimited()],
    "list_Volume": lambda o, _: [o.Volume("home")],
    "list_bool": lambda o, _: [True],
    "list_int": lambda o, _: [1],
    "list_Destination": lambda o, _: [o.Destination("a.b")],
    "list_mixed": lambda o, _: ["a", o.Volume("x")],
    "tuple_str": lambda o, _: ("a",),
    "bytes": lambda o, _: b"x",
    "dict_Volume_Quota": lambda o, _: {o.Volume("home"): o.Quota.unlimited()},
    "dict_empty": lambda o, _: {},
    "dict_str": lambda o, _: {"a": "b"},
    "dict_str_Quota": lambda o, _: {"home": o.Quota.unlimited()},
    "dict_Project_Award": lambda o, _: {o.ProjectIdentifier("p.w"): o.AwardDetails('{"name":"x"}')},
}
FAILURES: dict[str, Ask] = {
    "str": lambda o, _: "plain",
    "Pending": lambda o, _: o.ManagedProjectPendingError("wait"),
    "Rejected": lambda o, _: o.ManagedProjectRejectedError("no"),
    "Permission": lambda o, _: o.ManagedProjectPermissionError("p"),
    "Unsupported": lambda o, _: o.OpenPortalUnsupportedCommandError("u"),
    "Other": lambda o, _: o.OpenPortalOtherError("o"),
    "Base": lambda o, _: o.OpenPortalError("b"),
    "ValueError": lambda o, _: ValueError("v"),
    "OSError2": lambda o, _: OSError(2, "no such"),
    "KeyError": lambda o, _: KeyError("k"),
    "EmptyException": lambda o, _: Exception(),
    "PendingEmpty": lambda o, _: o.ManagedProjectPendingError(),
    "RejectedEmpty": lambda o, _: o.ManagedProjectRejectedError(),
    "PermissionEmpty": lambda o, _: o.ManagedProjectPermissionError(),
    "UnsupportedEmpty": lambda o, _: o.OpenPortalUnsupportedCommandError(),
    "OtherEmpty": lambda o, _: o.OpenPortalOtherError(),
    "empty_str": lambda o, _: "",
    "int": lambda o, _: 5,
}


def completed(module: Any, given: str) -> Any:
    done = json.loads(with_job(module, state="Running").completed(RESULTS[given](module, None)).to_json())
    text = done["result"]
    try:
        text = None if text is None else json.loads(text)
    except ValueError:
        pass
    return {**{name: done[name] for name in ("state", "version", "result_type")}, "result_decoded": text}


def picked(value: Any, *names: str) -> Any:
    found = json.loads(value.to_json())
    return {name: found.get(name) for name in names}


ANSWERED = ("state", "version", "result", "result_type")


def error_from_message(module: Any, given: str) -> Any:
    error = module.error_from_message(given)
    return {"class": type(error).__name__, "str": str(error)}


# Reports.

PROJECT_USAGE = (
    "dates", "components", "project", "portal", "users", "user_mapping", "unmapped_users", "total_usage", "num_jobs",
    "total_wait_seconds", "average_wait_seconds", "total_runtime_seconds", "expansion_jobs", "average_runtime_seconds",
    "average_expansion_factor", "aggregate_expansion_factor", "average_cpus_per_job", "average_gpus_per_job",
    "total_requeue_usage", "total_usage_including_requeues", "num_requeue_events", "requeue_wait_seconds",
    "average_requeue_wait_seconds", "average_wait_seconds_including_requeues", "requeue_states",
    "requeue_state_summary", "has_requeues", "has_reservations", "reservations", "total_reservation_usage",
    "unmapped_usage", "is_complete",
)  # fmt: skip
USAGE = (
    "portal", "projects", "user_mapping", "components", "total_usage", "total_requeue_usage",
    "total_usage_including_requeues", "num_requeue_events", "has_requeues", "has_reservations",
    "total_reservation_usage",
)  # fmt: skip
PROJECT_STORAGE = ("project", "generated_at", "project_quotas", "user_quotas", "users", "user_mapping", "is_empty")


def of_usage(make: Callable[[Any, Any], Any]) -> Ask:
    """What becomes of a project's usage report."""
    return lambda o, given: make(o, o.ProjectUsageReport.from_json(given))


def report(kind: str, names: tuple[str, ...]) -> Ask:
    def ask(module: Any, given: str) -> Any:
        value = getattr(module, kind).from_json(given)
        found = {"props": attributes(value, names), "json": json.loads(value.to_json())}
        if kind == "ProjectStorageReport":
            found["n_daily"] = len(value.daily_reports())
            found["n_daily_all"] = len(value.daily_reports(with_usage_only=False))
        return found

    return ask


def document(value: Any) -> Any:
    return json.loads(value.to_json())


def lines(text: str) -> list[str]:
    return sorted(text.split("\n"))


def usage_built(module: Any, _: Any) -> Any:
    value = module.ProjectUsageReport(module.ProjectIdentifier("p.w"))
    value.add_mapping(module.UserMapping("alice.p.w:alice:grp"))
    one = module.DailyProjectUsageReport()
    one.add_usage("alice", module.Usage(100))
    one.add_unattributed_usage(module.Usage(5))
    one.add_component_usage("gpu", "alice", module.Usage(50))
    one.add_unattributed_component_usage("gpu", module.Usage(1))
    one.set_complete()
    value.set_report(datetime.date(2024, 1, 2), one)
    return document(value)


def usage_filtered(module: Any, given: Any) -> Any:
    value = module.ProjectUsageReport.from_json(json.dumps(given["report"]))
    return document(value.filter(module.DateRange.parse(given["range"])))


def usage_remapped(module: Any, given: Any) -> Any:
    value = module.ProjectUsageReport.from_json(json.dumps(given["report"]))
    value.remap_project(module.ProjectIdentifier(given["to"]))
    return document(value)


def storage_added(module: Any, given: Any) -> Any:
    one, other = (module.ProjectStorageReport.from_json(json.dumps(each)) for each in given)
    return document(one + other)


# What the record does not have: asked of both sides by the differential tests.


def everything(value: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every attribute that is no method, and every method that needs nothing."""
    return attributes(value, [name for name in PLAIN[type(value).__name__] if name not in without])


PLAIN = {
    "DailyProjectUsageReport": (
        "is_complete", "is_consistent", "has_requeues", "has_reservations", "components", "requeue_components",
        "requeue_users", "total_allocated_cpus", "total_allocated_gpus", "num_jobs", "total_wait_seconds",
        "average_wait_seconds", "total_runtime_seconds", "expansion_jobs", "average_runtime_seconds",
        "average_expansion_factor", "aggregate_expansion_factor", "average_cpus_per_job", "average_gpus_per_job",
        "total_requeue_usage", "total_usage_including_requeues", "num_requeue_events", "requeue_wait_seconds",
        "average_requeue_wait_seconds", "average_wait_seconds_including_requeues", "requeue_states",
        "requeue_state_summary", "reservations", "total_reservation_usage", "usage_outside_reservations",
        "reservation_summary", "total_usage",
    ),
    "ProjectUsageReport": (*PROJECT_USAGE, "usage_outside_reservations", "reservation_summary"),
    "UsageReport": USAGE,
}  # fmt: skip
OF_USER = (
    "usage", "num_jobs_for_user", "wait_seconds_for_user", "average_wait_seconds_for_user", "runtime_seconds_for_user",
    "average_runtime_seconds_for_user", "expansion_factor_for_user", "aggregate_expansion_factor_for_user",
    "average_cpus_per_job_for_user", "average_gpus_per_job_for_user", "requeue_usage", "requeue_events_for_user",
    "requeue_wait_seconds_for_user",
)  # fmt: skip
OF_PROJECT_USER = (
    "average_runtime_seconds_for_user", "expansion_factor_for_user", "aggregate_expansion_factor_for_user",
    "average_cpus_per_job_for_user", "average_gpus_per_job_for_user",
)  # fmt: skip
OF_RESERVATION = ("reservation_usage", "reservation_requeue_usage", "reservation_jobs")


def daily(module: Any, given: Any) -> Any:
    """Everything about the first day of a report, of one user, state, component and reservation."""
    value = module.ProjectUsageReport.from_json(json.dumps(given["report"])).daily_reports(False)[0]
    user, name = given["user"], given["name"]
    return {
        "plain": everything(value),
        "users": sorted(value.local_users()),
        "of_user": {method: getattr(value, method)(user) for method in OF_USER},
        "of_reservation": {method: getattr(value, method)(name) for method in OF_RESERVATION},
        "reservation_users": sorted(value.reservation_users(name)),
        "reservation_user": value.reservation_usage_for_user(name, user),
        "state": [value.requeue_events_in_state(name), value.requeue_usage_in_state(name)],
        "component": value.total_requeue_component_usage(name),
        "lines": lines(str(value)),
        "in_hours": lines(value.in_hours()),
    }


def project(module: Any, given: Any) -> Any:
    value = module.ProjectUsageReport.from_json(json.dumps(given["report"]))
    user, name = given["user"], given["name"]
    return {
        "plain": {**everything(value), "users": sorted(map(str, value.users))},
        "usage": value.usage(module.UserIdentifier(f"{user}.p.w")),
        "of_user": {method: getattr(value, method)(user) for method in OF_PROJECT_USER},
        "of_reservation": {method: getattr(value, method)(name) for method in OF_RESERVATION},
        "state": value.requeue_usage_in_state(name),
        "component": document(value.get_component(name)),
        "lines": lines(str(value)),
    }


CHANGES: dict[str, Ask] = {
    "mul": lambda it, factor: it * factor,
    "rmul": lambda it, factor: factor * it,
    "div": lambda it, factor: it.__div__(factor),
    "idiv": lambda it, factor: it.__idiv__(factor),
    "scale_total": lambda it, factor: it.scale_total(factor),
    "set_complete": lambda it, _: it.set_complete(),
    "set_day_complete": lambda it, _: it.set_day_complete(it.dates[0]),
    "add_report": lambda it, _: it.add_report(it.dates[0], it.daily_reports(False)[0]),
    "set_report": lambda it, _: it.set_report(it.dates[-1], it.daily_reports(False)[0]),
}


def changed(module: Any, given: Any) -> Any:
    """A report after a change, made in place or given back."""
    value = module.ProjectUsageReport.from_json(json.dumps(given["report"]))
    made = CHANGES[given["change"]](value, given["factor"])
    return document(value if made is None else made)


def users_renamed(module: Any, given: Any) -> Any:
    value = module.ProjectUsageReport.from_json(json.dumps(given["report"]))
    value.remap_users({module.UserIdentifier(user): name for user, name in given["names"].items()})
    return document(value)


def reports_added(kind: str) -> Ask:
    def ask(module: Any, given: Any) -> Any:
        one, other = (getattr(module, kind).from_json(json.dumps(each)) for each in given)
        both = getattr(module, kind).combine([one, other])
        one += other
        return [document(one), document(both)]

    return ask


def award_changed(module: Any, given: Any) -> Any:
    """An award after some attributes were set, in order."""
    value = module.AwardDetails(json.dumps(given["award"]))
    for name, wanted in given["set"]:
        if name == "allocation" and wanted is not None:
            wanted = module.Allocation.parse(wanted)
        elif name == "project_template" and wanted is not None:
            wanted = module.ProjectTemplate(wanted)
        elif name in ("start_date", "end_date") and isinstance(wanted, str):
            wanted = day(wanted)
        elif name == "membership_control":
            wanted = module.MembershipControl.from_string(wanted)
        if name in ("add_members", "remove_member", "add_allowed_domain", "remove_breakdown_entry"):
            getattr(value, name)(wanted)
        elif name.startswith("clear_"):
            getattr(value, name)()
        else:
            setattr(value, name, wanted)
    return value.to_json()


def compared(module: Any, given: Any) -> Any:
    """Whether two of one kind are the same, and whether one is the same as a text."""
    kind, one, other = given
    make = getattr(module, kind)
    if kind in ("Allocation", "StorageSize", "QuotaLimit", "Quota", "DateRange"):
        make = make.parse
    first, second = make(one), make(other)
    return [first == second, first != second, first == other if kind in TEXTS else None]


TEXTS = (
    "PortalIdentifier", "ProjectIdentifier", "UserIdentifier", "Destination", "Volume", "Uuid", "Status",
    "ProjectTemplate", "DomainPattern", "QuotaLimit", "Instruction",
)  # fmt: skip

USAGE_AMOUNTS = ("seconds", "minutes", "hours", "days", "weeks", "months", "years", "in_hours")
SIZES = ("bytes", "kilobytes", "megabytes", "gigabytes", "terabytes", "petabytes")

ASKED: dict[tuple[str, str], Ask] = {
    ("PortalIdentifier", "parse"): parsed("PortalIdentifier", "portal"),
    ("ProjectIdentifier", "parse"): parsed("ProjectIdentifier", "project", "portal", "portal_identifier"),
    ("UserIdentifier", "parse"): parsed(
        "UserIdentifier", "username", "project", "portal", "project_identifier", "portal_identifier"
    ),
    ("ProjectMapping", "parse"): parsed("ProjectMapping", "project", "local_group"),
    ("UserMapping", "parse"): parsed("UserMapping", "user", "local_user", "local_group"),
    ("Destination", "parse"): parsed("Destination", "agents", "reverse"),
    ("Volume", "new"): parsed("Volume", "name"),
    ("Volume", "parse"): parsed("Volume", "name", by="parse"),
    ("ProjectTemplate", "parse"): parsed("ProjectTemplate"),
    ("Uuid", "parse"): parsed("Uuid"),
    ("Status", "parse"): parsed("Status"),
    ("MembershipControl", "parse"): parsed(
        "MembershipControl", "can_change_membership", "can_change_roles", by="from_string"
    ),
    ("StorageSize", "parse"): parsed("StorageSize", "bytes", by="parse"),
    ("StorageSize", "from_bytes"): parsed("StorageSize", *SIZES, by="from_bytes"),
    **{("StorageSize", f"from_{unit}"): parsed("StorageSize", "bytes", by=f"from_{unit}") for unit in SIZES[1:]},
    ("QuotaLimit", "parse"): parsed("QuotaLimit", "size", "is_unlimited", "is_limited", by="parse"),
    ("Quota", "parse"): parsed("Quota", *QUOTA, by="parse"),
    ("Quota", "with_usage"): quota_with_usage,
    ("Quota", "eq_reparse_str"): quota_again,
    ("Usage", "new"): parsed("Usage", *USAGE_AMOUNTS),
    **{("Usage", f"from_{unit}"): parsed("Usage", "seconds", by=f"from_{unit}") for unit in USAGE_AMOUNTS[1:-1]},
    ("Usage", "add"): lambda o, given: (o.Usage(given[0]) + o.Usage(given[1])).seconds,
    ("Usage", "sub"): lambda o, given: (o.Usage(given[0]) - o.Usage(given[1])).seconds,
    ("Usage", "mul"): lambda o, given: (o.Usage(given[0]) * given[1]).seconds,
    ("Allocation", "canonicalize"): lambda o, given: o.Allocation.canonicalize(given),
    ("Allocation", "parse"): parsed("Allocation", *ALLOCATION, by="parse"),
    ("Allocation", "from_size_and_units"): parsed("Allocation", "size", "units", by="from_size_and_units"),
    ("Allocation", "new"): lambda o, _: {
        "str": str(o.Allocation()),
        **attributes(o.Allocation(), ("size", "units", "is_empty")),
    },
    ("Node", "new"): lambda o, _: {"str": str(o.Node()), **attributes(o.Node(), NODE)},
    ("Node", "construct"): parsed("Node", *NODE, by="construct"),
    ("Node", "allocation_to_hours"): to_node_hours,
    **{
        ("Node", f"allocation_to_{what}_hours"): allocation_to(f"to_{what}_hours")
        for what in ("core", "gpu", "cpu", "gb", "billing")
    },
    **{
        ("Node", f"allocation_from_{what}_hours"): allocation_from(f"from_{what}_hours")
        for what in ("core", "gpu", "cpu", "gb", "billing")
    },
    ("DateRange", "parse"): lambda o, given: dates(o.DateRange.parse(given)),
    ("DateRange", "static"): lambda o, given: {"str": str(getattr(o.DateRange, given)())},
    **{
        ("DateRange", unit): lambda o, given, unit=unit: {"str": str(getattr(o.DateRange, unit)(day(given)))}
        for unit in ("week", "month", "year")
    },
    ("DateRange", "new"): lambda o, given: {"str": str(o.DateRange(*map(day, given)))},
    ("DomainPattern", "parse"): parsed("DomainPattern", "pattern"),
    ("DomainPattern", "matches"): lambda o, given: o.DomainPattern(given[0]).matches(given[1]),
    ("Instruction", "parse"): instruction,
    ("Notification", "parse"): notification_text,
    ("Notification", "from_json"): notification,
    ("Job", "from_json"): job,
    ("Job", "result"): result,
    ("Job", "completed"): completed,
    ("Job", "completed_from_state"): lambda o, state: picked(with_job(o, state=state).completed(True), *ANSWERED),
    ("Job", "completed_none_from_state"): lambda o, state: picked(with_job(o, state=state).completed_none(), *ANSWERED),
    ("Job", "errored_from_state"): lambda o, state: picked(
        with_job(o, state=state).errored("boom"), *ANSWERED, "error"
    ),
    ("Job", "errored"): lambda o, given: picked(with_job(o).errored(FAILURES[given](o, None)), *ANSWERED, "error"),
    ("error_from_message", "call"): error_from_message,
    ("AwardDetails", "from_json"): award,
    ("AwardDetails", "merge"): merged,
    ("AwardDetails", "add_member"): with_member,
    ("AwardDetails", "is_email_allowed"): allows("is_email_allowed", "email"),
    ("AwardDetails", "is_domain_allowed"): allows("is_domain_allowed", "domain"),
    ("Link", "set_url"): link_url,
    ("Link", "set_id"): link_id,
    ("ProjectUsageReport", "from_json"): report("ProjectUsageReport", PROJECT_USAGE),
    ("ProjectUsageReport", "str_sorted_lines"): of_usage(lambda o, it: lines(str(it))),
    ("ProjectUsageReport", "in_hours_sorted_lines"): of_usage(lambda o, it: lines(it.in_hours())),
    ("ProjectUsageReport", "daily_reports_str_sorted_lines"): of_usage(
        lambda o, it: [lines(str(one)) for one in it.daily_reports()]
    ),
    ("ProjectUsageReport", "mul_0.5"): of_usage(lambda o, it: document(it * 0.5)),
    ("ProjectUsageReport", "add_self"): of_usage(lambda o, it: document(it + it)),
    ("ProjectUsageReport", "to_usage_report"): of_usage(lambda o, it: document(it.to_usage_report())),
    ("ProjectUsageReport", "get_component_gpu"): of_usage(lambda o, it: document(it.get_component("gpu"))),
    ("ProjectUsageReport", "filter"): usage_filtered,
    ("ProjectUsageReport", "remap_project"): usage_remapped,
    ("ProjectUsageReport", "built"): usage_built,
    ("ProjectUsageReport", "new"): lambda o, given: document(o.ProjectUsageReport(o.ProjectIdentifier(given))),
    ("UsageReport", "from_json"): report("UsageReport", USAGE),
    ("UsageReport", "str_sorted_lines"): lambda o, given: lines(str(o.UsageReport.from_json(given))),
    ("ProjectStorageReport", "from_json"): report("ProjectStorageReport", PROJECT_STORAGE),
    ("ProjectStorageReport", "str_sorted_lines"): lambda o, given: lines(str(o.ProjectStorageReport.from_json(given))),
    ("ProjectStorageReport", "add"): storage_added,
    ("StorageReport", "from_json"): report("StorageReport", ("portal", "projects", "user_mapping", "is_empty")),
    ("DailyProjectUsageReport", "daily"): daily,
    ("ProjectUsageReport", "project"): project,
    ("ProjectUsageReport", "changed"): changed,
    ("ProjectUsageReport", "remap_users"): users_renamed,
    ("ProjectUsageReport", "sum"): reports_added("ProjectUsageReport"),
    ("UsageReport", "sum"): reports_added("UsageReport"),
    ("ProjectStorageReport", "sum"): reports_added("ProjectStorageReport"),
    ("AwardDetails", "changed"): award_changed,
    ("Named", "compared"): compared,
    ("Usage", "div"): lambda o, given: o.Usage(given[0]).__div__(given[1]).seconds,
}
