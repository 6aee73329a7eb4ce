"""One object of every class that a portal's software can make, by either client: `samples(module)`."""

from __future__ import annotations

import json
from typing import Any

ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
JOB = {
    "id": ID, "created": 1700000000, "changed": 1700000005, "expires": 1700000120, "version": 2,
    "command": "a.b get_offerings", "state": "Running", "result": None, "result_type": None,
}  # fmt: skip
DAY = {
    "reports": {"alice": {"seconds": 7200}, "bob": {"seconds": 3600}}, "num_jobs": 15, "total_wait_seconds": 1800,
    "components": {"gpu": {"alice": {"seconds": 3600}}}, "user_job_counts": {"alice": 10, "bob": 5},
    "user_wait_seconds": {"alice": 1200, "bob": 600}, "is_complete": True,
}  # fmt: skip
NEWER_DAY = DAY | {
    "user_runtime_seconds": {"alice": 5000}, "total_runtime_seconds": 5000, "num_requeue_events": 1,
    "requeue_reports": {"alice": {"seconds": 9}}, "reservation_reports": {"r": {"alice": {"seconds": 60}}},
    "reservation_jobs": {"r": 1},
}  # fmt: skip
USAGE = {"project": "p.w", "reports": {"2024-01-15": NEWER_DAY}, "users": {"alice.p.w": "alice"}}
STORAGE = {
    "project": "p.w", "generated_at": "2024-03-10T14:23:00Z", "users": {"alice.p.w": "alice"},
    "project_quotas": {"home": {"limit": "unlimited"}},
    "user_quotas": {"alice.p.w": {"home": {"limit": "100.00 GB", "usage": "42.00 GB"}}},
}  # fmt: skip
AWARD = {
    "name": "My project", "template": "cpu", "key": "k", "description": "é\n", "members": {"a@x.com": "pi"},
    "start_date": "2024-01-01", "end_date": "2024-12-31", "allocation": "1000 NHR", "breakdown": {"a": "1"},
    "award": {"id": "061", "url": "https://x.org/y"}, "renewal": {}, "earliest_approve": "2024-01-15T11:30:00Z",
    "notes": [{"timestamp": "2024-01-15T10:30:00Z", "author": "Jane", "text": "Approved."}],
    "membership_control": "members_only", "allowed_domains": ["x.com", "*.y.org"],
}  # fmt: skip
EVENT = {"id": ID, "destination": "a.b", "event": {"UserAdded": "u.p.w"}}


def link(module: Any) -> Any:
    made = module.Link()
    made.id, made.url = "061", "https://example.com"
    return made


def samples(o: Any) -> dict[str, Any]:
    usage = o.ProjectUsageReport.from_json(json.dumps(USAGE))
    size = o.StorageSize.parse("10 GB")
    return {
        "Allocation": o.Allocation.parse("10 NHR"),
        "AwardDetails": o.AwardDetails(json.dumps(AWARD)),
        "DailyProjectUsageReport": usage.daily_reports()[0],
        "DateRange": o.DateRange.parse("2024-01-01:2024-01-31"),
        "Destination": o.Destination("a.b"),
        "DomainPattern": o.DomainPattern("a.com"),
        "Instruction": o.Instruction("add_user u.p.w"),
        "Job": o.Job.from_json(json.dumps(JOB)),
        "Link": link(o),
        "MembershipControl": o.MembershipControl.Open,
        "Node": o.Node.construct(1, 2, 3, 4, 5),
        "Note": o.AwardDetails(json.dumps(AWARD)).notes[0],
        "Notification": o.Notification.from_json(json.dumps(EVENT)),
        "PortalIdentifier": o.PortalIdentifier("w"),
        "ProjectIdentifier": o.ProjectIdentifier("p.w"),
        "ProjectMapping": o.ProjectMapping("p.w:g"),
        "ProjectStorageReport": o.ProjectStorageReport.from_json(json.dumps(STORAGE)),
        "ProjectTemplate": o.ProjectTemplate("cpu"),
        "ProjectUsageReport": usage,
        "Quota": o.Quota.with_usage(o.QuotaLimit.unlimited(), o.StorageUsage(size)),
        "QuotaLimit": o.QuotaLimit.parse("10GB"),
        "Status": o.Status("pending"),
        "StorageReport": o.ProjectStorageReport.from_json(json.dumps(STORAGE)).to_storage_report()
        if hasattr(o.ProjectStorageReport, "to_storage_report")
        else o.StorageReport.from_json(json.dumps({"portal": "w", "reports": {"p.w": STORAGE}})),
        "StorageSize": size,
        "StorageUsage": o.StorageUsage(size),
        "Usage": o.Usage(3600),
        "UsageReport": usage.to_usage_report(),
        "UserIdentifier": o.UserIdentifier("u.p.w"),
        "UserMapping": o.UserMapping("u.p.w:a:b"),
        "Uuid": o.Uuid(ID),
        "Volume": o.Volume("home"),
    }


DOCUMENTS = (
    "AwardDetails", "Job", "Notification", "ProjectStorageReport", "ProjectUsageReport", "StorageReport", "UsageReport",
)  # fmt: skip
RESULTS = (
    "UserIdentifier", "ProjectIdentifier", "PortalIdentifier", "UserMapping", "ProjectMapping", "Usage", "DateRange",
    "ProjectTemplate", "AwardDetails", "StorageSize", "StorageUsage", "QuotaLimit", "Quota", "Volume", "UsageReport",
    "ProjectUsageReport", "StorageReport", "ProjectStorageReport",
)  # fmt: skip
LISTED = (
    "UserIdentifier", "ProjectIdentifier", "PortalIdentifier", "UserMapping", "ProjectMapping", "Quota", "Volume",
    "StorageSize", "StorageUsage", "QuotaLimit",
)  # fmt: skip


def written(o: Any) -> dict[str, str]:
    """Every document that can travel, as JSON: those of their own, and jobs with every type of result."""
    made, job = samples(o), samples(o)["Job"]
    found = {name: made[name].to_json() for name in DOCUMENTS}
    results = {name: made[name] for name in RESULTS} | {f"list of {name}": [made[name]] for name in LISTED}
    results |= {"dict": {made["Volume"]: made["Quota"]}, "bool": True, "text": "é", "texts": ["a"], "nothing": []}
    for name, result in results.items():
        found[f"job with {name}"] = job.completed(result).to_json()
    found["failed job"] = job.errored("ManagedProjectPendingError: wait").to_json()
    return found


def read(o: Any, documents: dict[str, str]) -> dict[str, Any]:
    """What each says: its text for a document, its result or failure for a job."""
    found: dict[str, Any] = {}
    for name, document in documents.items():
        kind = name if name in DOCUMENTS else "Job"
        value = getattr(o, kind).from_json(document)
        if name.startswith("job with"):
            value = value.result
        elif name == "failed job":
            value = value.error_message
        found[name] = sorted(shown(value).split("\n"))
    return found


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return str({str(key): str(each) for key, each in value.items()})
    return str([str(each) for each in value]) if isinstance(value, list) else str(value)
