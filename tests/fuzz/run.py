"""Fuzz one target with atheris: python tests/fuzz/run.py TARGET [libFuzzer's options and corpus folders]

    python tests/fuzz/run.py ledger -max_total_time=600 /tmp/found tests/fuzz/corpus/ledger

New inputs go to the first folder. A finding ends it with its traceback, and is written beside as `crash-…`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["openportal"]):
    from tests.fuzz.targets import TARGETS, quiet


def main() -> None:
    name = sys.argv.pop(1)
    quiet()
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
