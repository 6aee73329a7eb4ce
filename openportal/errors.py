"""Every error that OpenPortal raises on purpose.

    OpenPortalError
    ├── GrammarError            the text is not a sentence of the grammar           invalid
    ├── ConfigError             a configuration file, invite or option is wrong     invalid
    ├── SecretError             a secret cannot be opened or made                   invalid
    ├── TransportError          paddington: the link                                unavailable, retry
    │   ├── HandshakeError      the peer is not who it must be, or speaks otherwise
    │   │   └── IdentityAlarm   somebody else seems to have a neighbour's keys
    │   ├── FrameError          a frame that cannot be opened or is too big
    │   ├── ReplayError         a nonce that was seen before, is too old, or is missing
    │   ├── NotConnected        there is no live link to that peer
    │   └── QueueFull           the peer does not read as fast as we write
    ├── JobError                the outcome of a job that failed; `kind` is the wire's
    │   ├── InvalidJob          it cannot be carried out as it is written           invalid
    │   ├── Unroutable          no such next hop from here                          unroutable
    │   ├── Expired             its time ran out                                    expired
    │   ├── Unsupported         this agent does not do that                         unsupported
    │   ├── RunError            the work was tried and failed                       run
    │   └── Unavailable         not now: full, stopping, or a system is down        unavailable, retry
    └── LedgerError             the event store                                     unavailable
        ├── LedgerLocked        another process writes this ledger
        ├── LedgerCorrupt       the chain does not verify; names the first bad position
        ├── UnknownEvent        written by a newer version; names the event
        └── CommitFailed        the disk or the database refused a commit           unavailable, retry

`kind` is what travels in a job's `error.kind`; `retry` says whether the same request may succeed later without a
change. A message is a sentence for the person who must act on it.
"""

from __future__ import annotations

from typing import ClassVar


class OpenPortalError(Exception):
    """Base of the tree; `str()` is the sentence to show."""

    kind: ClassVar[str] = "unknown"
    retry: ClassVar[bool] = False


class GrammarError(OpenPortalError, ValueError):
    """The text is not a sentence of the grammar."""

    kind = "invalid"


class ConfigError(OpenPortalError):
    """A configuration file, an invite or an option is wrong; the message says what to change."""

    kind = "invalid"


class SecretError(OpenPortalError):
    """A secret cannot be opened with this password, or cannot be made. Never carries the secret."""

    kind = "invalid"


class TransportError(OpenPortalError):
    """Something about the link between two agents."""

    kind = "unavailable"
    retry = True


class HandshakeError(TransportError):
    """The peer is not who it must be, or does not speak our protocol."""


class IdentityAlarm(HandshakeError):
    """Somebody else seems to have a neighbour's keys: the connection is refused, and an operator has to look.

    `cause` is a word for the counters: one of `paddington.peer.ALARM_CAUSES`.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class FrameError(TransportError):
    """A frame cannot be opened, or is larger than a frame may be."""


class ReplayError(TransportError):
    """A message repeats a nonce, is older than the window, or lacks the nonce its sender promised."""


class NotConnected(TransportError):
    """There is no live link to that peer."""


class QueueFull(TransportError):
    """The peer does not read as fast as we write."""


class JobError(OpenPortalError):
    """A job failed. Instances may carry a kind of their own, as it came over the wire."""

    def __init__(self, message: str, kind: str | None = None) -> None:
        super().__init__(message)
        self.wire_kind: str = kind or type(self).kind


class InvalidJob(JobError):
    """The job cannot be carried out as it is written."""

    kind = "invalid"


class Unroutable(JobError):
    """The destination does not lead on from here; the message names the hop and its neighbours."""

    kind = "unroutable"


class Expired(JobError):
    """The job's time ran out before it finished."""

    kind = "expired"


class Unsupported(JobError):
    """This agent does not carry out that instruction."""

    kind = "unsupported"


class RunError(JobError):
    """The work was tried and failed."""

    kind = "run"


class Unavailable(JobError):
    """Not now: a queue is full, the agent is stopping, or a system it needs is down."""

    kind = "unavailable"
    retry = True


class LedgerError(OpenPortalError):
    """The event store cannot do what was asked."""

    kind = "unavailable"


class LedgerLocked(LedgerError):
    """Another process writes this ledger; the message holds its pid."""


class LedgerCorrupt(LedgerError):
    """The hash chain does not verify; the message names the first bad position."""


class UnknownEvent(LedgerError):
    """The log holds an event this version does not know; the message names it."""


class CommitFailed(LedgerError):
    """The disk or the database refused a commit."""

    retry = True
