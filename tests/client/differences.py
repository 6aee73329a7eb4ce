"""Where our module is meant to answer otherwise than the published client 0.94.0, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from datetime import MAXYEAR, MINYEAR
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """`applies` looks at the type, the operation and the input of a question."""

    why: str
    applies: Callable[[str, str, Any], bool]


def _state(given: Any) -> str:
    try:
        return str(json.loads(given)["state"])
    except (ValueError, TypeError, KeyError):
        return ""


def _is_list(given: Any, *result_types: str) -> bool:
    return given["result_type"] in result_types and str(given["result"]).startswith("[")


def _bad_volume(kind: str, op: str, given: Any) -> bool:
    return (kind, op) == ("Volume", "new") and (given == "" or " " in given or given.strip() != given)


def _projects(given: Any) -> set[str]:
    return {str(each.get("project", each.get("portal"))) for each in given}


def _differ(names: Collection[str]) -> bool:
    return len(set(names)) == len(names)


def _is_of_no_year(given: Any) -> bool:
    try:
        year = re.match(r"\s*([+-]?\d+)-", json.loads(given)["generated_at"])
    except (ValueError, TypeError, KeyError):
        return False
    return year is not None and not MINYEAR <= int(year[1]) <= MAXYEAR


def _has_no_year(given: Any) -> bool:
    years = re.findall(r'"\s*([+-]?\d+)-\d\d-\d\d', given) if isinstance(given, str) else []
    return any(not MINYEAR <= int(year) <= MAXYEAR for year in years)


def _has_loose_members(given: Any) -> bool:
    added = [value for name, value in given["set"] if name == "add_members" and isinstance(value, dict)]
    return any(email != email.strip() for members in added for email in members)


DIFFERENCES = (
    Difference("a volume's name is checked when it is made, not by the agent that gets it", _bad_volume),
    Difference(
        "a duplicate job prints as one, without Rust's notation for an option that is not set",
        lambda kind, op, given: kind == "Job" and op == "from_json" and _state(given) == "Duplicate",
    ),
    Difference(
        "a result of offerings is decoded, and a list of usages, which the published client writes but cannot read",
        lambda kind, op, given: op == "result" and _is_list(given, "Destinations", "Vec<Usage>"),
    ),
    Difference(
        "adding the report of another project or portal is an error; the published client logs it and adds nothing",
        lambda kind, op, given: op == "add" and isinstance(given[0], dict) and len(_projects(given)) > 1,
    ),
)


_BY_LOCAL_NAME = (("ProjectUsageReport", "remap_users"), ("ProjectUsageReport", "project"))
UNRECORDED = (
    Difference(
        "of users with one local name, the published client takes one or another by chance, and ours the last",
        lambda kind, op, given: (kind, op) in _BY_LOCAL_NAME and not _differ([*given["report"]["users"].values()]),
    ),
    Difference(
        "a report of a year that a `datetime` cannot have is refused; the published client fails when it is asked for",
        lambda kind, op, given: (kind, op) == ("ProjectStorageReport", "from_json") and _is_of_no_year(given),
    ),
    Difference(
        "an award with a time of such a year is refused, too",
        lambda kind, op, given: (kind, op) == ("AwardDetails", "from_json") and _has_no_year(given),
    ),
    Difference(
        "blanks around a member's address are left out, by `add_members` as by `add_member`",
        lambda kind, op, given: (kind, op) == ("AwardDetails", "changed") and _has_loose_members(given),
    ),
)
"""What is asked by the differential tests only."""


def difference(kind: str, op: str, given: Any) -> Difference | None:
    return next((each for each in (*DIFFERENCES, *UNRECORDED) if each.applies(kind, op, given)), None)


def where(ours: Any, theirs: Any, path: str = "") -> str | None:
    """The first place where two answers differ; None if nowhere.

    Where theirs is a failure, ours must be one of the same class; its words are our own.
    """
    if isinstance(theirs, dict) and "error_class" in theirs and "error" in theirs:
        theirs = {"error_class": theirs["error_class"]}
        ours = {"error_class": ours.get("error_class")} if isinstance(ours, dict) else ours
    if isinstance(theirs, dict) and isinstance(ours, dict) and ours.keys() == theirs.keys():
        return next(filter(None, (where(ours[key], theirs[key], f"{path}.{key}") for key in theirs)), None)
    if isinstance(theirs, list) and isinstance(ours, list) and len(ours) == len(theirs):
        places = (where(*pair, f"{path}[{at}]") for at, pair in enumerate(zip(ours, theirs, strict=True)))
        return next(filter(None, places), None)
    return None if type(ours) is type(theirs) and ours == theirs else f"{path}: ours {ours!r}, theirs {theirs!r}"
