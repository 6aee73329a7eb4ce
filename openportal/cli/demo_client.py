"""The program that the demonstration runs with the published client: it asks for users, and prints what it is told.

    python -I demo_client.py CLIENT-FILE DESTINATION INSTRUCTION…

Each instruction is asked once the bridge accepts it, then all are looked at until they have ended. One JSON object a
line: {"asked": id, "instruction": …}, {"ended": id, "state": …, "result": …}. It is run by the interpreter of an
environment that holds the published `openportal`, not ours, and uses nothing of this project.
"""

import json
import sys
import time

import openportal as published

PATIENCE_SECONDS = 100
PAUSE_SECONDS = 0.1


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


def ask(command: str):  # type: ignore[no-untyped-def]  # a job of the published client, which has no types here
    """The job, once the bridge has accepted it; a bridge that is away is asked again."""
    while True:
        try:
            return published.run(command, 0)
        except OSError:
            time.sleep(PAUSE_SECONDS)


def look(job) -> bool:  # type: ignore[no-untyped-def]
    """Whether the job has ended; says so if it has."""
    try:
        job.update()
    except OSError:
        return False
    if not job.is_finished:
        return False
    say(ended=str(job.id), state=str(job.state), result=job.error_message if job.is_error else str(job.result))
    return True


def main() -> None:
    file, destination, *instructions = sys.argv[1:]
    published.load_config(file)
    jobs = []
    for instruction in instructions:
        job = ask(f"{destination} {instruction}")
        say(asked=str(job.id), instruction=instruction)
        jobs.append(job)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while jobs and time.monotonic() < deadline:
        jobs = [job for job in jobs if not look(job)]
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
