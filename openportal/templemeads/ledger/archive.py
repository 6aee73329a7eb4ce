"""Sealed segments as files, so that the database need not grow for ever.

    segment-000001.jsonl.gz    {"format": 1, "ledger_id": …, "number": 1, "first": 1, "last": 100004,
                                "unit": 0, "before": "<digest>", "after": "<digest>"}
                               [position, "stream id", version, "topic", "state"]
                               …

A file holds the rows of one segment as they stand in the log, and no key: what is sealed stays sealed, and a person who
is erased is erased in archives, too. A segment is deleted from the database only once its file was read back and its
chain leads from `before` to `after`. Readers go on into the archive by themselves while it lies beside the ledger.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openportal.errors import LedgerError
from openportal.templemeads.ledger.format import FORMAT, Chain, Mark, Row, corrupt
from openportal.templemeads.ledger.reading import stored_of
from openportal.templemeads.ledger.tables import ReadBackend, Segment

COMPRESSION = 6


def file_of(folder: Path, number: int) -> Path:
    return folder / f"segment-{number:06}.jsonl.gz"


def write_segment(backend: ReadBackend, ledger_id: str, segment: Segment, folder: Path) -> Path:
    """Write one segment's file, durable when this returns. A file that is there is replaced."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = file_of(folder, segment.number)
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=COMPRESSION, mtime=0, filename="") as file:
            for line in lines_of(backend, ledger_id, segment):
                file.write(line)
        raw.flush()
        os.fsync(raw.fileno())
    check_segment(partial, ledger_id, segment)
    partial.replace(path)
    return path


def lines_of(backend: ReadBackend, ledger_id: str, segment: Segment) -> Iterator[bytes]:
    """The lines of a segment's file."""
    header: dict[str, Any] | None = None
    for row in backend.rows(segment.first - 1, last=segment.last):
        if header is None:
            header = header_of(ledger_id, segment, stored_of(row).u - 1)
            yield json.dumps(header).encode() + b"\n"
        state = row.state.decode()
        yield json.dumps([*row[:4], state], ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def header_of(ledger_id: str, segment: Segment, unit: int) -> dict[str, Any]:
    return {
        "format": FORMAT, "ledger_id": ledger_id, "number": segment.number, "first": segment.first,
        "last": segment.last, "unit": unit, "before": segment.digest_before, "after": segment.digest_after,
    }  # fmt: skip


def read_header(path: Path, ledger_id: str, segment: Segment) -> Mark:
    """The mark before a segment's file. Raises LedgerError if it is another ledger's, or another segment's."""
    with gzip.open(path) as file:
        header = json.loads(file.readline())
    if header != header_of(ledger_id, segment, header.get("unit", 0)):
        raise LedgerError(f"{path} is not the archive of segment {segment.number} of this ledger")
    return Mark(segment.first - 1, header["unit"], bytes.fromhex(segment.digest_before))


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a segment's file."""
    with gzip.open(path) as file:
        file.readline()
        for line in file:
            position, stream, version, topic, state = json.loads(line)
            yield Row(position, stream, version, topic, state.encode())


def check_segment(path: Path, ledger_id: str, segment: Segment) -> Mark:
    """Read a file back and follow its chain; returns the mark after it. Raises LedgerError, LedgerCorrupt."""
    try:
        chain = Chain(read_header(path, ledger_id, segment))
        for _ in chain.units(read_rows(path)):
            pass
    except (OSError, EOFError, ValueError) as error:
        raise LedgerError(f"the archive {path} cannot be read: {error}") from error
    if chain.mark.position != segment.last or chain.mark.digest.hex() != segment.digest_after:
        corrupt(chain.mark.position, f"the archive {path} does not end as segment {segment.number} does")
    return chain.mark


def archived_rows(folder: Path, segments: list[Segment], after: int, last: int, stream: str | None) -> Iterator[Row]:
    """Rows of archived segments beyond a position, in order; `stream` is an id."""
    for segment in segments:
        if after < segment.last and segment.first <= last:
            for row in read_rows(file_of(folder, segment.number)):
                if after < row.position <= last and (stream is None or row.stream == stream):
                    yield row
