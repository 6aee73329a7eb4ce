"""The results of jobs: what each type's name on the wire decodes to, and what it is encoded from.

    UserMapping                 one value
    Vec<UserMapping>            a list of them
    HashMap<Volume, Quota>      a dict
    None, bool, String          None; 1 or 0, as in the published client; a text

`TYPES` is the whole table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from openportal.client.awards import AwardDetails, ProjectTemplate
from openportal.client.identifiers import (
    Destination,
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
    Volume,
)
from openportal.client.quantities import DateRange, Usage
from openportal.client.storage import Quota, QuotaLimit, StorageSize, StorageUsage
from openportal.client.storage_reports import ProjectStorageReport, StorageReport
from openportal.client.usage import ProjectUsageReport, UsageReport
from openportal.client.wrapper import Wrapper
from openportal.errors import GrammarError
from openportal.grammar import awards, dates, destination, identifiers, quantities, storage, storage_reports, usage
from openportal.grammar.text import quote

NONE: Final = "None"
ERROR: Final = "Error"
QUOTAS: Final = "HashMap<Volume, Quota>"


class Type(NamedTuple):
    """What a value is shown as, and how its JSON is read and written."""

    shown: type[Wrapper[Any]]
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = str
    listed: bool = True


def _printed(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Reads what travels as its text."""

    def read(wire: Any) -> Any:
        if not isinstance(wire, str):
            raise GrammarError(f"must be a text, not {quote(str(wire))}")
        return parse(wire)

    return read


def _read_range(text: str) -> dates.DateRange:
    return dates.DateRange.parse(text, date.today())


def _to_wire(value: Any) -> Any:
    return value.to_wire()


TYPES: Final[Mapping[str, Type]] = MappingProxyType(
    {
        "UserIdentifier": Type(UserIdentifier, _printed(identifiers.UserIdentifier.parse)),
        "ProjectIdentifier": Type(ProjectIdentifier, _printed(identifiers.ProjectIdentifier.parse)),
        "PortalIdentifier": Type(PortalIdentifier, _printed(identifiers.PortalIdentifier.parse)),
        "UserMapping": Type(UserMapping, _printed(identifiers.UserMapping.parse)),
        "ProjectMapping": Type(ProjectMapping, _printed(identifiers.ProjectMapping.parse)),
        "ProjectDetails": Type(AwardDetails, awards.AwardDetails.from_wire, _to_wire),
        "Quota": Type(Quota, storage.Quota.from_wire, _to_wire),
        "Volume": Type(Volume, _printed(identifiers.Volume.parse)),
        "StorageSize": Type(StorageSize, storage.StorageSize.from_wire),
        "StorageUsage": Type(StorageUsage, storage.StorageUsage.from_wire),
        "QuotaLimit": Type(QuotaLimit, storage.QuotaLimit.from_wire),
        "Usage": Type(Usage, quantities.Usage.from_wire, _to_wire),
        "DateRange": Type(DateRange, _printed(_read_range), listed=False),
        "ProjectTemplate": Type(ProjectTemplate, _printed(awards.ProjectTemplate.parse), listed=False),
        "UsageReport": Type(UsageReport, usage.UsageReport.from_wire, _to_wire, listed=False),
        "ProjectUsageReport": Type(ProjectUsageReport, usage.ProjectUsageReport.from_wire, _to_wire, listed=False),
        "StorageReport": Type(StorageReport, storage_reports.StorageReport.from_wire, _to_wire, listed=False),
        "ProjectStorageReport": Type(
            ProjectStorageReport, storage_reports.ProjectStorageReport.from_wire, _to_wire, listed=False
        ),
    }
)


def decoded(result_type: str, document: str | None) -> Any:
    """What the result of a job is. Raises GrammarError for what is not known or not of its type."""
    if result_type == NONE:
        return None
    read = _reader(result_type)
    if document is None:
        raise GrammarError(f"the job has no result, but should have a {result_type}")
    try:
        wire = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise GrammarError(f"the result of the job is not JSON: {error}") from error
    return read(wire)


def _reader(result_type: str) -> Callable[[Any], Any]:
    if result_type == "bool":
        return _read_bool
    if result_type == "String":
        return _printed(str)
    if result_type == "Vec<String>":
        return lambda wire: [_printed(str)(one) for one in _list(wire)]
    if result_type == QUOTAS:
        return _read_quotas
    if result_type == "Destinations":
        return lambda wire: [Destination._of(_printed(destination.Destination.parse)(one)) for one in _list(wire)]
    name = result_type.removeprefix("Vec<").removesuffix(">") if result_type.startswith("Vec<") else result_type
    kind = TYPES.get(name)
    if kind is None or (name != result_type and not kind.listed):
        raise GrammarError(f"results of the type {quote(result_type)} are not known here")
    if name == result_type:
        return lambda wire: kind.shown._of(kind.read(wire))
    return lambda wire: [kind.shown._of(kind.read(one)) for one in _list(wire)]


def _read_bool(wire: Any) -> int:
    if not isinstance(wire, bool):
        raise GrammarError(f"must be true or false, not {quote(str(wire))}")
    return int(wire)


def _list(wire: Any) -> list[Any]:
    if not isinstance(wire, list):
        raise GrammarError(f"must be a list, not {quote(str(wire))}")
    return wire


def _read_quotas(wire: Any) -> dict[Volume, Quota]:
    if not isinstance(wire, dict):
        raise GrammarError(f"must be an object of volumes and quotas, not {quote(str(wire))}")
    volume, quota = TYPES["Volume"], TYPES["Quota"]
    return {Volume._of(volume.read(name)): Quota._of(quota.read(value)) for name, value in wire.items()}


_NAMES: Final[Mapping[type[Any], str]] = MappingProxyType({kind.shown: name for name, kind in TYPES.items()})


def encoded(result: Any) -> tuple[str, str]:
    """The name of the type of a result, and its JSON. Raises OSError for what cannot be one."""
    result_type, wire = _written(result)
    return result_type, json.dumps(wire, ensure_ascii=False, separators=(",", ":"))


def _is_listed(values: Sequence[Any]) -> bool:
    """Whether they are of one type, and one that can be in a list."""
    kind = TYPES.get(_NAMES.get(type(values[0]), ""))
    return kind is not None and kind.listed and len({type(one) for one in values}) == 1


def _written(result: Any) -> tuple[str, Any]:
    match result:
        case bool():
            return "bool", result
        case str():
            return "String", result
        case []:
            return "Vec<UserIdentifier>", []
        case [str(), *_] if all(isinstance(one, str) for one in result):
            return "Vec<String>", list(result)
        case [Wrapper(), *_] if _is_listed(result):
            name, _ = _written(result[0])
            return f"Vec<{name}>", [_written(one)[1] for one in result]
        case dict() if all(isinstance(k, Volume) and isinstance(v, Quota) for k, v in result.items()):
            return QUOTAS, {str(volume): quota._value.to_wire() for volume, quota in result.items()}
        case Wrapper() if type(result) in _NAMES:
            name = _NAMES[type(result)]
            return name, TYPES[name].write(result._value)
    raise OSError(f"{type(result).__name__!r} cannot be the result of a job; use completed_none() for none")
