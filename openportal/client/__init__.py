"""The Python API of the portal's side; `import openportal` gives all of it.

One module comes when it is asked for: `aio`, which needs asyncio and takes longer to import than all the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from openportal.client.awards import (
    AwardDetails,
    DomainPattern,
    Link,
    MembershipControl,
    Note,
    ProjectDetails,
    ProjectTemplate,
)
from openportal.client.client import Client
from openportal.client.config import Config
from openportal.client.default import (
    add_offerings,
    diagnostics,
    fetch_job,
    fetch_jobs,
    fetch_notification,
    get,
    get_offerings,
    get_portal,
    health,
    initialize_tracing,
    is_config_loaded,
    load_config,
    notify,
    remove_offerings,
    restart,
    run,
    send_result,
    status,
    sync_offerings,
)
from openportal.client.errors import (
    BridgeError,
    ManagedProjectPendingError,
    ManagedProjectPermissionError,
    ManagedProjectRejectedError,
    OpenPortalError,
    OpenPortalOtherError,
    OpenPortalUnsupportedCommandError,
    error_from_message,
)
from openportal.client.identifiers import (
    Destination,
    Instruction,
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    Status,
    UserIdentifier,
    UserMapping,
    Uuid,
    Volume,
)
from openportal.client.jobs import Job
from openportal.client.notifications import Notification
from openportal.client.operations import (
    Diagnostics,
    DiagnosticsReport,
    ExpiredJobEntry,
    FailedJobEntry,
    Health,
    HealthInfo,
    LogEntry,
    NotificationStatistics,
    RestartResponse,
    RunningJobEntry,
    SlowJobEntry,
)
from openportal.client.quantities import Allocation, DateRange, Node, Usage
from openportal.client.storage import Quota, QuotaLimit, StorageSize, StorageUsage
from openportal.client.storage_reports import ProjectStorageReport, StorageReport
from openportal.client.usage import DailyProjectUsageReport, ProjectUsageReport, UsageReport

if TYPE_CHECKING:
    from openportal.client.aio import AsyncClient

__all__ = [
    "Allocation",
    "AsyncClient",
    "AwardDetails",
    "BridgeError",
    "Client",
    "Config",
    "DailyProjectUsageReport",
    "DateRange",
    "Destination",
    "Diagnostics",
    "DiagnosticsReport",
    "DomainPattern",
    "ExpiredJobEntry",
    "FailedJobEntry",
    "Health",
    "HealthInfo",
    "Instruction",
    "Job",
    "Link",
    "LogEntry",
    "ManagedProjectPendingError",
    "ManagedProjectPermissionError",
    "ManagedProjectRejectedError",
    "MembershipControl",
    "Node",
    "Note",
    "Notification",
    "NotificationStatistics",
    "OpenPortalError",
    "OpenPortalOtherError",
    "OpenPortalUnsupportedCommandError",
    "PortalIdentifier",
    "ProjectDetails",
    "ProjectIdentifier",
    "ProjectMapping",
    "ProjectStorageReport",
    "ProjectTemplate",
    "ProjectUsageReport",
    "Quota",
    "QuotaLimit",
    "RestartResponse",
    "RunningJobEntry",
    "SlowJobEntry",
    "Status",
    "StorageReport",
    "StorageSize",
    "StorageUsage",
    "Usage",
    "UsageReport",
    "UserIdentifier",
    "UserMapping",
    "Uuid",
    "Volume",
    "add_offerings",
    "diagnostics",
    "error_from_message",
    "fetch_job",
    "fetch_jobs",
    "fetch_notification",
    "get",
    "get_offerings",
    "get_portal",
    "health",
    "initialize_tracing",
    "is_config_loaded",
    "load_config",
    "notify",
    "remove_offerings",
    "restart",
    "run",
    "send_result",
    "status",
    "sync_offerings",
]


def __getattr__(name: str) -> Any:
    if name != "AsyncClient":
        raise AttributeError(f"module 'openportal.client' has no attribute {name!r}")
    return import_module("openportal.client.aio").AsyncClient
