"""The event log of one agent: group commit, hash chain, personal data under a key per subject. See docs/ledger.md."""

from openportal.templemeads.ledger.commit import Stats
from openportal.templemeads.ledger.format import ERASED, Event, Recorded, Unknown
from openportal.templemeads.ledger.keep import backup, restore
from openportal.templemeads.ledger.reader import Reader, ReaderStats, Report, open_reader
from openportal.templemeads.ledger.settings import Settings
from openportal.templemeads.ledger.store import Ledger
from openportal.templemeads.ledger.tables import Segment

__all__ = [
    "ERASED",
    "Event",
    "Ledger",
    "Reader",
    "ReaderStats",
    "Recorded",
    "Report",
    "Segment",
    "Settings",
    "Stats",
    "Unknown",
    "backup",
    "open_reader",
    "restore",
]
