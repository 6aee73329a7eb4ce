"""What the HTTP side asks of the bridge agent behind it.

The HTTP side knows signatures, bodies and status codes; the agent knows jobs, boards and neighbours. All they say to
each other is in this one class. Jobs, notifications and reports cross it as plain JSON objects, in the key order in
which they are to be printed.

A call may be cancelled when the request runs out of time; that says nothing about whether its work was done.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

Json = dict[str, Any]
OfferingsAction = Literal["get", "sync", "add", "remove"]


class Backend(Protocol):
    """The bridge agent. Every method may raise an `OpenPortalError`, whose text is shown to the caller."""

    def portal(self) -> str | None:
        """The name of the portal that is connected now."""
        ...

    async def run(self, command: str, key_id: str) -> str:
        """Accept a command from the holder of `key_id`; return the job's id once it is committed.

        Raises `GrammarError` for a text that is no command, `Unavailable` for not now, `JobError` for never.
        """
        ...

    async def job(self, id: str, wait_seconds: float) -> Json | None:
        """The job as it is, after waiting up to `wait_seconds` for it to finish; None if it is not known."""
        ...

    async def unfinished(self, wait_seconds: float) -> list[Json]:
        """The jobs that wait for the portal software, oldest first; if there are none, waits for one so long."""
        ...

    async def fetch_job(self, id: str) -> Json | None:
        """One job that was put to the portal software; None if it is not known."""
        ...

    def fetch_notification(self, id: str) -> Json | None:
        """One notification, at least for as long as its signal is open; None if it is not known."""
        ...

    async def send_result(self, job: Json) -> None:
        """Take the portal software's answer to a job. Raises `JobError` with a sentence if it cannot be taken."""
        ...

    async def offerings(self, action: OfferingsAction, destinations: list[str]) -> list[str]:
        """Look at the offerings or change them; returns those that are offered (get) or were accepted (the others)."""
        ...

    async def health(self) -> Json | None:
        """The health of the bridge and of what lies behind it; None if it cannot be told."""
        ...

    async def restart(self, restart_type: str, destination: str) -> str:
        """Pass on a restart ("soft" or "hard"); returns a sentence about what was done."""
        ...

    async def diagnostics(self, destination: str) -> Json | None:
        """The diagnostics report of the agent at `destination`; None if none came in time."""
        ...

    async def notify(self, command: str) -> None:
        """Send the notification `<destination> <event> [argument]`; nobody is told whether it arrives."""
        ...
