"""Questions that come together go together, and everybody gets what is theirs."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from openportal.agents.scheduler.slurm.gathering import ACCOUNTS_MAX, Gathering
from openportal.agents.scheduler.slurm.records import JobRecords
from openportal.agents.scheduler.slurm.transport import JobQuery
from openportal.agents.scheduler.slurm.windows import Window
from openportal.errors import Unavailable
from tests.agents.scheduler.accounting import record
from tests.agents.scheduler.sources import Accounts

QUERY = JobQuery(Window(0, 5000), "c", (), "p")
MANY = 330


class Slow(Accounts):
    """Answers when it is let go."""

    def __init__(self, *given: object, **more: object) -> None:
        super().__init__(*given, **more)  # type: ignore[arg-type]
        self.let_go = asyncio.Event()

    async def jobs(self, query: JobQuery) -> JobRecords:
        found = await super().jobs(query)
        await self.let_go.wait()
        return found


def name(number: int) -> str:
    return f"a{number}"


def records(count: int) -> list[object]:
    return [record(job_id=number, account=name(number)) for number in range(count)]


def of(account: str, window: Window = QUERY.window) -> JobQuery:
    return replace(QUERY, accounts=(account,), window=window)


async def asked(gathering: Gathering, queries: list[JobQuery]) -> list[asyncio.Task[JobRecords]]:
    tasks = [asyncio.ensure_future(gathering.jobs(query)) for query in queries]
    await asyncio.sleep(0.01)
    return tasks


async def test_what_comes_at_once_and_what_comes_meanwhile_goes_together() -> None:
    source = Slow(records(MANY))
    gathering = Gathering(source)
    tasks = await asked(gathering, [of(name(number)) for number in range(3)])
    tasks += await asked(gathering, [of(name(3))])
    tasks += await asked(gathering, [of(name(number)) for number in range(4, MANY)])
    assert [len(query.accounts) for query in source.asked] == [3, 1]
    source.let_go.set()
    found = await asyncio.gather(*tasks)
    assert [[job.account for job in one.jobs] for one in found] == [[name(number)] for number in range(MANY)]
    assert [len(query.accounts) for query in source.asked] == [3, 1, ACCOUNTS_MAX, MANY - 4 - ACCOUNTS_MAX]
    assert {replace(query, accounts=()) for query in source.asked} == {QUERY}


async def test_different_windows_are_different_questions() -> None:
    source = Slow(records(4))
    windows = [Window(0, 5000), Window(5000, 9000)]
    queries = [of(name(number), windows[number % 2]) for number in range(4) for _ in range(2)]
    source.let_go.set()
    await asyncio.gather(*await asked(Gathering(source), queries))
    for query in source.asked:
        assert {number % 2 for number in range(4) if name(number) in query.accounts} == {windows.index(query.window)}


async def test_who_has_no_jobs_gets_none_and_who_asks_twice_gets_the_same() -> None:
    source = Slow(records(1))
    source.let_go.set()
    tasks = await asked(Gathering(source), [of("a0"), of("nobody"), of("a0"), of("nobody")])
    assert [len(one.jobs) for one in await asyncio.gather(*tasks)] == [1, 0, 1, 0]


async def test_an_error_is_that_of_all_who_asked_and_the_next_are_asked_again() -> None:
    source = Slow(records(5), lambda query: len(query.accounts) > 1)
    source.let_go.set()
    gathering = Gathering(source)
    tasks = await asked(gathering, [of(name(number)) for number in range(5)])
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable] * 5
    assert len((await gathering.jobs(of("a3"))).jobs) == 1


async def test_a_record_that_cannot_be_read_is_laid_to_the_one_whose_it_is() -> None:
    class One(Slow):
        async def jobs(self, query: JobQuery) -> JobRecords:
            self.unreadable = ("no job_id",) if "a3" in query.accounts else ()
            return await super().jobs(query)

    source = One(records(5))
    source.let_go.set()
    found = await asyncio.gather(*await asked(Gathering(source), [of(name(number)) for number in range(5)]))
    assert [one.unreadable for one in found] == [(), (), (), ("no job_id",), ()]
    assert all(len(one.jobs) == 1 for one in found)


async def test_who_gives_up_does_not_take_the_others_along() -> None:
    source = Slow(records(4))
    tasks = await asked(Gathering(source), [of(name(number)) for number in range(4)])
    assert len(source.asked) == 1
    for given_up in (tasks[0], tasks[3]):
        given_up.cancel()
    source.let_go.set()
    assert [len((await task).jobs) for task in tasks[1:3]] == [1, 1]


async def test_several_accounts_and_all_of_them_are_asked_for_as_they_are() -> None:
    source = Slow(records(5))
    source.let_go.set()
    for query in (QUERY, replace(QUERY, accounts=("a1", "a2"))):
        assert len((await Gathering(source).jobs(query)).jobs) == (len(query.accounts) or 5)
        assert source.asked[-1] == query
