"""The search for secrets finds them: one that finds nothing anywhere would prove nothing."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from pathlib import Path

from tests.facility.secrets_seen import ProcessList, leaked, open_files, secrets_in, spellings

KEY = "7c" * 32
SEEN_SECONDS = 60.0
SLEEP = "import time; time.sleep(600)"


def test_a_key_is_found_in_every_spelling() -> None:
    raw = bytes.fromhex(KEY)
    texts = [KEY.encode(), raw, KEY.upper().encode(), base64.b64encode(raw), base64.b64encode(KEY.encode())]
    assert [leaked(spellings(KEY), b"before " + text + b" after") for text in texts] == [True] * len(texts)
    assert not leaked(spellings(KEY), KEY[:-2].encode())


def test_keys_of_a_file_are_found_however_deep() -> None:
    table = {"service": {"clients": [{"inner_key": {"data": "a"}, "next_keys": [{"outer_key": {"data": "b"}}]}]}}
    assert set(secrets_in(table)) == {"a", "b"}


def test_only_files_that_anybody_can_reach_are_open(tmp_path: Path) -> None:
    for folder, mode in (("open", 0o755), ("closed", 0o700)):
        (tmp_path / folder).mkdir()
        for name, bits in (("shown", 0o644), ("hidden", 0o600)):
            (tmp_path / folder / name).touch()
            (tmp_path / folder / name).chmod(bits)
        (tmp_path / folder).chmod(mode)
    assert [path.relative_to(tmp_path).as_posix() for path in open_files(tmp_path)] == ["open/shown"]


def wait_until_seen(processes: ProcessList, marks: set[bytes]) -> None:
    deadline = time.monotonic() + SEEN_SECONDS
    while not all(leaked({mark}, b"\n".join(processes.seen.copy())) for mark in marks):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_command_lines_and_environments_are_seen() -> None:
    environment = {**os.environ, "PASSED_ON": f"environment-{os.getpid()}"}
    marks = {f"word-{os.getpid()}".encode(), environment["PASSED_ON"].encode()}
    command = ["python3", "-c", SLEEP, f"word-{os.getpid()}"]
    with ProcessList() as processes, subprocess.Popen(command, env=environment) as child:
        try:
            wait_until_seen(processes, marks)
        finally:
            child.kill()
