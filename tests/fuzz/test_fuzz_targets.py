"""Every reader of foreign bytes under atheris: what is kept in `corpus` each time, a short run, and a long one.

`OPENPORTAL_FUZZ_SECONDS=900 pytest -m long tests/fuzz` makes the long ones a quarter of an hour each.

What a long run finds new stays in `.fuzz/TARGET`, beside the number of inputs that were tried in all runs so far. A
finding is put into `corpus` as `found-…` together with its mend, so that it is tried for ever.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.fuzz.targets import TARGETS, quiet

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
KEPT = HERE.parent.parent / ".fuzz"
COUNTS = KEPT / "executions.json"
KEPT_INPUTS = [(path.parent.name, path) for path in sorted(CORPUS.glob("*/*"))]
SHORT_RUNS = 300
LONG_SECONDS = int(os.environ.get("OPENPORTAL_FUZZ_SECONDS", "120"))  # of each target
INPUT_MAX_BYTES = 4096
PATIENCE_SECONDS = 120


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    quiet()
    yield
    targets.logging.disable(targets.logging.NOTSET)


def fuzz(name: str, artifacts: Path, *arguments: str | Path, seconds: float = PATIENCE_SECONDS) -> int:
    """How many inputs were tried; a finding fails the test with its traceback."""
    options = (
        "-len_control=0",
        f"-max_len={INPUT_MAX_BYTES}",
        "-print_final_stats=1",
        f"-artifact_prefix={artifacts}/",
    )
    command = [sys.executable, HERE / "run.py", name, *options, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    assert found is not None, done.stderr[-2000:]
    return int(found[1])


@pytest.mark.parametrize(("name", "path"), KEPT_INPUTS, ids=[f"{name}-{path.name}" for name, path in KEPT_INPUTS])
def test_kept_inputs(name: str, path: Path) -> None:
    TARGETS[name](path.read_bytes())


def test_every_target_has_inputs_to_begin_with() -> None:
    assert {name for name, _ in KEPT_INPUTS} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_run(name: str, tmp_path: Path) -> None:
    grown = tmp_path / "grown"
    grown.mkdir()
    tried = fuzz(name, tmp_path, f"-runs={SHORT_RUNS}", "-seed=20261124", grown, CORPUS / name)
    assert tried >= SHORT_RUNS


@pytest.mark.parametrize(
    ("name", "reader", "data"),
    [
        ("instruction", "parse_command", b"a.b get_users demo.brics"),
        ("config", "parse", b"\x00"),
        ("http", "client_address", b"\x00run\n\n"),
    ],
)
def test_a_reader_that_raises_anything_else_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, name: str, reader: str, data: bytes
) -> None:
    def broken(*_: object) -> None:
        raise IndexError("planted")

    TARGETS[name](data)
    monkeypatch.setattr(targets, reader, broken)
    with pytest.raises(IndexError, match="planted"):
        TARGETS[name](data)


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
def test_a_long_run(name: str, tmp_path: Path) -> None:
    grown = KEPT / name
    grown.mkdir(parents=True, exist_ok=True)
    tried = fuzz(
        name,
        tmp_path,
        f"-max_total_time={LONG_SECONDS}",
        grown,
        CORPUS / name,
        seconds=LONG_SECONDS * 2 + PATIENCE_SECONDS,
    )
    counts = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    counts[name] = counts.get(name, 0) + tried
    COUNTS.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")
    print(f"{name}: {tried:,} inputs in this run, {counts[name]:,} in all")
