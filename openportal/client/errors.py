"""What this module raises.

    OSError
    ├── BridgeError                             the bridge did not answer, or said no; its sentence, and `status`
    └── OpenPortalError                         a job failed
        ├── OpenPortalOtherError                in any other way
        ├── OpenPortalUnsupportedCommandError   the facility does not carry out that instruction
        └── ManagedProjectPermissionError       the portal may not have the project
            ├── ManagedProjectPendingError      it has not been decided on yet: ask again later
            └── ManagedProjectRejectedError     it has been decided against

A text or a document that is refused is a plain OSError. So `except OSError` catches everything that goes wrong, as it
does with the published client.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from openportal.client.arguments import text
from openportal.grammar.joberrors import JobFailure, recovered


class OpenPortalError(OSError):
    """A job failed; the base of all of its kinds."""

    __module__ = "openportal"


class OpenPortalOtherError(OpenPortalError):
    """A job failed in a way that has no class of its own."""

    __module__ = "openportal"


class OpenPortalUnsupportedCommandError(OpenPortalError):
    """The facility does not carry out that instruction."""

    __module__ = "openportal"


class ManagedProjectPermissionError(OpenPortalError):
    """The portal may not have the project."""

    __module__ = "openportal"


class ManagedProjectPendingError(ManagedProjectPermissionError):
    """The project has not been decided on yet."""

    __module__ = "openportal"


class ManagedProjectRejectedError(ManagedProjectPermissionError):
    """The project has been decided against."""

    __module__ = "openportal"


class BridgeError(OSError):
    """The bridge could not be reached, or refused. `status` is its HTTP status; None if it did not answer."""

    __module__ = "openportal"

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


CLASSES: Final[Mapping[str, type[OpenPortalError]]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            OpenPortalError,
            OpenPortalOtherError,
            OpenPortalUnsupportedCommandError,
            ManagedProjectPermissionError,
            ManagedProjectPendingError,
            ManagedProjectRejectedError,
        )
    }
)


def exception_of(failure: JobFailure) -> OpenPortalError:
    """The exception that stands for a failure of a job."""
    return CLASSES[failure.class_name](failure.message)


def error_from_message(message: str) -> OpenPortalError:
    """The exception that the text of a failed job tells of."""
    return exception_of(recovered(text(message, "message")))
