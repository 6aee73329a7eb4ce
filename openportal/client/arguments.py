"""What a caller may give, and how he is told that he may not.

    TypeError        a value of the wrong type             argument 'usage': 'str' object cannot be interpreted as …
    OverflowError    a number that does not fit            an unsigned one of 64 or of 32 bits
    OSError          a text or document that is refused    the sentence of the GrammarError, which is its cause

These are the classes that the published client raises. `told` is the one door through which the grammar is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from operator import index
from typing import Any, Final, ParamSpec, TypeVar

from openportal.errors import GrammarError

U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1

P = ParamSpec("P")
R = TypeVar("R")


def told(ask: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """What the grammar answers; its refusal as an OSError."""
    try:
        return ask(*arguments, **options)
    except GrammarError as error:
        raise OSError(str(error)) from error


def cannot_be_cast(value: object, kind: str, name: str | None) -> TypeError:
    where = "" if name is None else f"argument '{name}': "
    return TypeError(f"{where}'{type(value).__name__}' object cannot be cast as '{kind}'")


def text(value: object, name: str | None = None) -> str:
    if not isinstance(value, str):
        raise cannot_be_cast(value, "str", name)
    return value


def instance(value: object, kind: type[R], name: str | None = None) -> R:
    if not isinstance(value, kind):
        raise cannot_be_cast(value, kind.__name__, name)
    return value


def instances(values: object, kind: type[R], name: str | None = None) -> list[R]:
    """A list or tuple of one kind."""
    if not isinstance(values, list | tuple):
        raise cannot_be_cast(values, "Sequence", name)
    return [instance(value, kind) for value in values]


def texts(values: object, name: str) -> dict[str, str]:
    """A mapping of texts to texts, in the order of its keys."""
    if not isinstance(values, Mapping):
        raise cannot_be_cast(values, "dict", name)
    return {text(key, name): text(value, name) for key, value in sorted(values.items())}


def count(value: Any, name: str, most: int = U64_MAX) -> int:
    """An unsigned whole number."""
    try:
        number = index(value)
    except TypeError:
        raise TypeError(
            f"argument '{name}': '{type(value).__name__}' object cannot be interpreted as an integer"
        ) from None
    if number < 0:
        raise OverflowError("can't convert negative int to unsigned")
    if number > most:
        raise OverflowError("int too big to convert")
    return number


def real(value: Any, name: str) -> float:
    """A number, whole or not."""
    if isinstance(value, str | bytes | bytearray) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError(f"argument '{name}': must be real number, not {type(value).__name__}")
    return float(value)


def day(value: object, name: str) -> date:
    """A date; of a datetime, its date."""
    if not isinstance(value, date):
        raise cannot_be_cast(value, "date", name)
    return date(value.year, value.month, value.day)


def moment(value: object, name: str) -> datetime:
    """A datetime in UTC."""
    if not isinstance(value, datetime):
        raise cannot_be_cast(value, "datetime", name)
    if value.tzinfo is None:
        raise TypeError(f"argument '{name}': expected a datetime with non-None tzinfo")
    if value.utcoffset() != timedelta(0):
        raise ValueError("expected datetime.timezone.utc")
    return value.astimezone(UTC)


def joined(reports: Iterable[R]) -> Iterable[R]:
    """Reports that are to be combined. Raises OSError if there are none."""
    found = tuple(reports)
    if not found:
        raise OSError("there are no reports to combine")
    return found
