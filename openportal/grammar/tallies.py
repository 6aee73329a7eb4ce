"""The families of fields that a day of usage has: how each is read, written, added, scaled and renamed.

    Total           a number                                            "num_jobs": 15
    UserCounts      numbers by user                                     "user_job_counts": {"alice": 10}
    OtherCounts     numbers by something else, such as a state          "requeue_states": {"NODE_FAIL": 2}
    UserUsage       usages by user                                      "reports": {"alice": {"seconds": 7200}}
    OtherUsage      usages by something else                            "requeue_state_usage": {"NODE_FAIL": …}
    NestedUsage     usages by something else, and then by user          "components": {"gpu": {"alice": …}}

A usage is a number of seconds here and an object in JSON. Sums stop at the largest number that the network carries.
What is counted is not scaled, and what is not by user is not renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any, Final, get_origin, get_type_hints

import msgspec

from openportal.errors import GrammarError
from openportal.grammar.quantities import U64_MAX, Usage, saturate

Counts = Mapping[str, int]
Nested = Mapping[str, Counts]
Scale = Callable[[float], float]
Number = Annotated[int, msgspec.Meta(ge=0)]


class Seconds(msgspec.Struct, frozen=True, gc=False):
    """A usage as it stands in JSON."""

    seconds: Number


class Nothing(Mapping[str, Any]):
    """A mapping that holds nothing and never will."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"


NOTHING: Final = Nothing()
"""The value of a field that is not there: one for all, since a report has many."""


@dataclass(frozen=True, slots=True)
class Family:
    """`kind` is the type of the JSON, of which `read` makes the value; `read` raises GrammarError."""

    kind: Any
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    add: Callable[[Any, Any], Any]
    scale: Callable[[Any, Scale], Any]
    rename: Callable[[Any, Mapping[str, str]], Any]


def total_of(seconds: Counts) -> Usage:
    """The sum of usages."""
    return Usage(min(U64_MAX, sum(seconds.values())))


def total_of_nested(nested: Nested) -> Usage:
    return sum(map(total_of, nested.values()), Usage())


def add_counts(one: Counts, other: Counts) -> Counts:
    """The sum by key."""
    added = dict(one)
    for key, number in other.items():
        added[key] = min(U64_MAX, added.get(key, 0) + number)
    return added


def add_used(one: Counts, other: Counts) -> Counts:
    """The sum by key; what is nothing adds nothing, not even its key."""
    return add_counts(one, {key: number for key, number in other.items() if number})


def add_nested(one: Nested, other: Nested) -> Nested:
    """The sum by both keys; what is nothing adds nothing, not even its keys."""
    return {**one, **{key: add_used(one.get(key, {}), counts) for key, counts in other.items() if any(counts.values())}}


def _read_total(number: int) -> int:
    if number > U64_MAX:
        raise GrammarError(f"a number cannot be more than {U64_MAX}")
    return number


def _bounded(counts: dict[str, int]) -> Counts:
    if counts:
        _read_total(max(counts.values()))
    return counts


def _read_usages(usages: dict[str, Seconds]) -> Counts:
    return _bounded({key: usage.seconds for key, usage in usages.items()})


def _write_usages(seconds: Counts) -> dict[str, dict[str, int]]:
    return {key: {"seconds": number} for key, number in seconds.items()}


def _scale_counts(counts: Counts, scale: Scale) -> Counts:
    return {key: saturate(scale(float(number))) for key, number in counts.items()}


def _rename_counts(counts: Counts, names: Mapping[str, str]) -> Counts:
    return reduce(add_counts, ({names.get(key, key): number} for key, number in counts.items()), {})


def _each(change: Callable[..., Any]) -> Callable[..., Any]:
    return lambda nested, *rest: {key: change(counts, *rest) for key, counts in nested.items()}


def _add_totals(one: int, other: int) -> int:
    return min(U64_MAX, one + other)


def _kept(value: Any, _: Any = None) -> Any:
    return value


_COUNTS: Final = dict[str, Number]
_USAGES: Final = dict[str, Seconds]

Total = Annotated[int, Family(Number, _read_total, _kept, _add_totals, _kept, _kept)]
UserCounts = Annotated[Counts, Family(_COUNTS, _bounded, _kept, add_counts, _kept, _rename_counts)]
OtherCounts = Annotated[Counts, Family(_COUNTS, _bounded, _kept, add_counts, _kept, _kept)]
UserUsage = Annotated[Counts, Family(_USAGES, _read_usages, _write_usages, add_counts, _scale_counts, _rename_counts)]
OtherUsage = Annotated[Counts, Family(_USAGES, _read_usages, _write_usages, add_used, _scale_counts, _kept)]
NestedUsage = Annotated[
    Nested,
    Family(
        dict[str, _USAGES],  # type: ignore[valid-type]
        _each(_read_usages),
        _each(_write_usages),
        add_nested,
        _each(_scale_counts),
        _each(_rename_counts),
    ),
]


def families_of(cls: type) -> dict[str, Family]:
    """The fields of a class that have a family, each with that."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if get_origin(hint) is Annotated}
