"""The portal's software at work, with the published client: it asks for users, one by one, once more when told to end.

    python -I load_driver.py CLIENT-FILE DESTINATION STOP-FILE

A bridge that is away is asked again, as any client would. One JSON object a line for each job that was accepted:
{"instruction": …, "state": …, "result": …}. It runs on a host, in an environment of its own, and uses nothing of ours.
"""

import json
import sys
import time
from itertools import count
from pathlib import Path

import openportal as published

PAUSE_SECONDS = 0.1
JOB_SECONDS = 120


def patiently(ask):  # type: ignore[no-untyped-def]  # the published client has no types here
    """What `ask` returns, once the bridge answers."""
    while True:
        try:
            return ask()
        except OSError:
            time.sleep(PAUSE_SECONDS)


def main() -> None:
    file, destination, stop = sys.argv[1:]
    published.load_config(file)  # type: ignore[attr-defined]
    for number in count():
        is_last = Path(stop).exists()  # so that one job is asked for after whatever was done meanwhile
        instruction = f"add_user u{number}.load.brics"
        command = f"{destination} {instruction}"
        job = patiently(lambda command=command: published.run(command, 0))  # type: ignore[attr-defined,misc]
        deadline = time.monotonic() + JOB_SECONDS
        while not job.is_finished and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
            patiently(job.update)
        result = str(job.error_message if job.is_error else job.result)
        print(json.dumps({"instruction": instruction, "state": str(job.state), "result": result}), flush=True)
        if is_last:
            return


if __name__ == "__main__":
    main()
