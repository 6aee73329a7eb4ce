"""Why a job failed: the kinds of errors, and how older agents write them into a text.

    kind                class of the published client          what it means
    award_pending       ManagedProjectPendingError             the portal has not decided on the award yet
    award_rejected      ManagedProjectRejectedError            it has decided against it
    award_permission    ManagedProjectPermissionError          the project may not have it
    unsupported         OpenPortalUnsupportedCommandError      the software does not carry out that instruction
    run expired …       OpenPortalOtherError                   every other kind, known or not

Since release 0.94 a job says `"error": {"kind": …, "message": …}`. Before that, and beside it, the text of its result
says it all: `<class>: <message>` or the bare class, perhaps within `RuntimeError{…}`. `recovered` reads such a text as
the published client does; `failure_of` takes what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from openportal.errors import GrammarError
from openportal.grammar.text import quote, trim

UNKNOWN: Final = "unknown"
EXPIRED: Final = "expired"
OTHER_CLASS: Final = "OpenPortalOtherError"

CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "award_pending": "ManagedProjectPendingError",
        "award_rejected": "ManagedProjectRejectedError",
        "award_permission": "ManagedProjectPermissionError",
        "unsupported": "OpenPortalUnsupportedCommandError",
    }
)
"""The class of each kind that has one of its own."""

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {**{name: kind for kind, name in CLASSES.items()}, OTHER_CLASS: UNKNOWN, "OpenPortalError": UNKNOWN}
)
"""The kind of each class that a text may name."""

_UNSAID: Final[Mapping[str, str]] = MappingProxyType(
    {
        "award_pending": "The project is pending.",
        "award_rejected": "The project is rejected.",
        "award_permission": "The project is not permitted.",
        "unsupported": "The command is not supported.",
        UNKNOWN: "An unspecified error occurred.",
    }
)
_WRAPPING: Final = "RuntimeError{"
_BARE: Final[Mapping[str, str]] = MappingProxyType(
    {
        f"{name}{braces}": kind
        for name, kind in (("ExpirationError", EXPIRED), ("UnknownError", UNKNOWN))
        for braces in ("{}", "{{}}")
    }
)
"""Errors without a message, as 0.94 writes them, and as 0.32 does."""


@dataclass(frozen=True, slots=True)
class JobFailure:
    """A failure as it is told to software: its kind, the client's class for it, and a sentence."""

    kind: str
    class_name: str
    message: str

    @classmethod
    def from_wire(cls, value: object) -> JobFailure:
        """From `{"kind": …, "message": …}`; a message may name the class if the kind has none. Raises GrammarError."""
        kind, message = (value.get("kind"), value.get("message")) if isinstance(value, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(message, str):
            raise GrammarError(f"an error must be an object with a kind and a message, not {quote(str(value))}")
        found = recovered(message)
        return cls(kind, CLASSES.get(kind, found.class_name), found.message)

    def to_wire(self) -> dict[str, str]:
        return {"kind": self.kind, "message": str(self)}

    def __str__(self) -> str:
        """The text in which older agents find the class again."""
        return self.message if self.class_name == OTHER_CLASS else f"{self.class_name}: {self.message}"


def recovered(text: str) -> JobFailure:
    """What the result of a failed job says, where that is all there is."""
    inner = trim(text)
    kind = UNKNOWN
    if inner.startswith(_WRAPPING):
        inner = trim(inner.removeprefix(_WRAPPING).removesuffix("}"))
        kind = "run"
    kind = _BARE.get(inner, kind) if text else EXPIRED
    name, colon, message = inner.partition(": ")
    if name not in KINDS:
        return JobFailure(kind, OTHER_CLASS, inner)
    return JobFailure(KINDS[name], name, trim(message) if colon else _UNSAID[KINDS[name]])


def failure_of(error: object, result: str | None) -> JobFailure:
    """Of a job that failed, from its `error` if it has one and else from its `result`. Raises GrammarError."""
    if error is not None:
        return JobFailure.from_wire(error)
    return JobFailure("", OTHER_CLASS, "") if result is None else recovered(result)
