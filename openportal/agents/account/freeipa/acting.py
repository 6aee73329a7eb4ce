"""Carries out what `plan` says, each call as an effect of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from openportal.agents.account.freeipa.plan import Step
from openportal.agents.account.freeipa.servers import Server
from openportal.templemeads.handlers import Run


async def carry_out(run: Run, server: Server, steps: Sequence[Step]) -> None:
    """The calls of a step at once, and the next step when all have succeeded. Raises the first error of a step."""
    for step in steps:
        effects = (run.effect(call.action, call.target, partial(server.change, call)) for call in step)
        raise_first(await asyncio.gather(*effects, return_exceptions=True))


def raise_first(outcomes: Iterable[object]) -> None:
    """Raise the first error among outcomes."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
