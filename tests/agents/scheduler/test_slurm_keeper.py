"""Limits are never lowered for want of an answer: looks at accounting that fail, come late, or tell less than before.

Slurm is a few values in memory here; what a real one does is in `tests/systems/slurm`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import cast

import pytest

from openportal.agents.locks import Locks
from openportal.agents.scheduler.slurm.accounts import Accounts
from openportal.agents.scheduler.slurm.keeper import CORRECTION_SECONDS, LimitKeeper
from openportal.agents.scheduler.slurm.plan import Target
from openportal.agents.scheduler.slurm.reports import UsageReports
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.transport import Account, Association, Slurm, TresMinutes
from openportal.errors import LedgerError, RunError, Unavailable
from openportal.grammar.dates import DateRange
from openportal.grammar.identifiers import ProjectIdentifier, ProjectMapping
from openportal.grammar.usage import DailyProjectUsageReport, ProjectUsageReport
from tests.agents.runs import MemoryRun

MAPPING = ProjectMapping.parse("demo.brics:brics.demo")
TARGET = Target.of(MAPPING, "main", "root")
NOVEMBER = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
DECEMBER = datetime(2026, 12, 1, 0, tzinfo=UTC).timestamp()


@dataclass
class Site:
    """A Slurm with one account, its accounting, and the time."""

    minutes: TresMinutes = field(default_factory=dict)
    borne: int = 0
    is_down: bool = False
    now: float = NOVEMBER
    asked: list[DateRange] = field(default_factory=list)

    async def account(self, name: str) -> Account:
        return Account(name, "account for openportal project demo.brics", "openportal")

    async def associations(self, cluster: str, account: str = "") -> tuple[Association, ...]:
        return (Association(cluster, account, parent="root", minutes=self.minutes),)

    async def set_minutes(self, cluster: str, account: str, minutes: TresMinutes) -> None:
        self.minutes = {**self.minutes, **minutes}

    async def is_visible(self, user: str) -> bool:
        return True

    async def project(self, project: ProjectIdentifier, account: str, days: DateRange) -> ProjectUsageReport:
        """As UsageReports."""
        self.asked.append(days)
        if self.is_down:
            raise Unavailable("accounting is down")
        day = DailyProjectUsageReport(reports={"alice": 1000}, requeue_reports={"alice": self.borne})
        return ProjectUsageReport(project, {days.start_date: day})


@dataclass
class Keeping:
    """A keeper of the limits of a site, and the site."""

    site: Site
    keeper: LimitKeeper

    @property
    def reports(self) -> UsageReports:
        return cast("UsageReports", self.site)

    async def set(self, seconds: int) -> list[tuple[str, str]]:
        run = MemoryRun()
        await self.keeper.set(run, TARGET, seconds, self.reports)
        return run.effects

    async def get(self) -> int:
        return await self.keeper.get(MemoryRun(), TARGET, self.reports)


def keeping(site: Site, recalled: Iterable[tuple[ProjectMapping, int]] = ()) -> Keeping:
    settings = Settings.of({"slurm-default-node": '{"cpus": 60}', "slurm-cluster": "main"})
    accounts = Accounts(cast("Slurm", site), site, settings)
    return Keeping(site, LimitKeeper(accounts, settings.node, UTC, lambda: recalled, lambda: site.now, Locks()))


async def test_what_the_site_bears_of_this_month_is_added() -> None:
    at = keeping(Site(borne=100))
    assert len(await at.set(1000)) == 1
    assert at.site.minutes == {"cpu": 1100}
    assert await at.get() == 1000
    assert at.site.asked == [DateRange(date(2026, 11, 1), date(2026, 11, 24))]


async def test_it_is_looked_at_again_after_an_hour_and_only_rises() -> None:
    at = keeping(Site(borne=100))
    await at.set(1000)
    for borne, expected in ((400, 1400), (50, 1400), (500, 1500)):
        at.site.borne = borne
        at.site.now += CORRECTION_SECONDS
        await at.get()
        assert at.site.minutes == {"cpu": expected}


async def test_a_month_begins_with_what_was_borne_in_it() -> None:
    at = keeping(Site(borne=100))
    await at.set(1000)
    at.site.now, at.site.borne = DECEMBER, 7
    assert await at.get() == 1000
    assert at.site.minutes == {"cpu": 1007}
    assert at.site.asked[-1] == DateRange(date(2026, 12, 1), date(2026, 12, 1))


async def test_while_accounting_is_down_what_is_known_counts_on(caplog: pytest.LogCaptureFixture) -> None:
    at = keeping(Site(borne=100))
    await at.set(1000)
    at.site.now, at.site.is_down = NOVEMBER + CORRECTION_SECONDS, True
    assert await at.get() == 1000
    assert at.site.minutes == {"cpu": 1100}
    assert "is not known anew: accounting is down" in caplog.text


async def test_what_was_never_known_lowers_nothing() -> None:
    """A new life of the agent, while accounting is down: Slurm keeps what an earlier life set."""
    at = keeping(Site(minutes={"cpu": 1100}, is_down=True), [(MAPPING, 1000)])
    for attempt in (at.get(), at.set(900)):
        with pytest.raises(Unavailable):
            await attempt
    assert at.site.minutes == {"cpu": 1100}
    at.site.is_down, at.site.borne = False, 100
    assert await at.get() == 1000
    assert at.site.minutes == {"cpu": 1100}


async def test_a_ledger_that_cannot_be_read_lowers_nothing() -> None:
    def unreadable() -> Iterable[tuple[ProjectMapping, int]]:
        raise LedgerError("the disk is gone")

    site = Site(minutes={"cpu": 5})
    settings = Settings.of({"slurm-default-node": '{"cpus": 60}', "slurm-cluster": "main"})
    accounts = Accounts(cast("Slurm", site), site, settings)
    keeper = LimitKeeper(accounts, settings.node, UTC, unreadable, lambda: site.now, Locks())
    with pytest.raises(RunError, match="cannot be read from the ledger: the disk is gone"):
        await Keeping(site, keeper).get()


async def test_nothing_stays_nothing_and_none_stays_none() -> None:
    at = keeping(Site(borne=100))
    await at.set(0)
    assert at.site.minutes == {"cpu": 0}
    free = keeping(Site(borne=100))
    assert (await free.get(), free.site.minutes, free.site.asked) == (0, {}, [])


async def test_a_request_of_this_life_is_newer_than_the_ledger() -> None:
    at = keeping(Site(), [(MAPPING, 1000)])
    await at.set(2000)
    assert await at.get() == 2000
