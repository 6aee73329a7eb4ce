"""Round trip, group commit, the order of `then`, failure and the lock: on SQLite in both modes and on PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from ledger_samples import ALICE, EVENTS, Finished, Received, execute, fill, open_ledger, unit

from openportal.errors import CommitFailed, ConfigError, LedgerError, LedgerLocked, UnknownEvent
from openportal.templemeads.ledger import Event, Ledger, Recorded, Settings, open_reader


async def test_what_was_written_is_replayed(settings: Settings) -> None:
    ledger = open_ledger(settings)
    assert (ledger.position, ledger.units, ledger.clean, ledger.generation) == (0, 0, True, 1)
    ledger.submit(unit(1), 1000.25)
    ledger.submit([("agent@site", Finished("x", False, 1.5, ("a", 'b"\n')))], 1001)
    await ledger.drain()
    head, identity = ledger.head, ledger.ledger_id
    ledger.close()
    again = open_ledger(settings)
    received, finished = (event for _, event in unit(1))
    assert list(again.replay()) == [
        Recorded(1, 1, 1000.25, "portal@brics", 1, received),
        Recorded(2, 1, 1000.25, "agent@site", 1, finished),
        Recorded(3, 2, 1001, "agent@site", 2, Finished("x", False, 1.5, ("a", 'b"\n'))),
    ]
    assert (again.head, again.ledger_id, again.position, again.units) == (head, identity, 3, 2)
    assert again.clean
    again.close()
    with open_reader(settings, EVENTS) as reader:
        assert reader.verify().ok


async def test_a_ledger_goes_on_where_it_ended(settings: Settings) -> None:
    for start in range(3):
        ledger = open_ledger(settings)
        assert len(list(ledger.replay())) == 4 * start
        await fill(ledger, 2, 2 * start)
        ledger.close()
    with open_reader(settings, EVENTS) as reader:
        report = reader.verify()
        assert (report.ok, report.events, report.units) == (True, 12, 6)
        assert [r.version for r in reader.records(stream="agent@site")] == [1, 2, 3, 4, 5, 6]


async def test_submitting_without_replay_verifies_first(settings: Settings) -> None:
    ledger = open_ledger(settings)
    await fill(ledger, 3)
    ledger.close()
    ledger = open_ledger(settings)
    await fill(ledger, 1, 3)
    assert ledger.position == 8
    ledger.close()


async def test_thens_are_called_in_order_after_their_commit(settings: Settings) -> None:
    ledger = open_ledger(settings)
    called: list[tuple[str, int]] = []
    ledger.submit((), 0.0, lambda: called.append(("gate at once", ledger.position)))
    assert called == [("gate at once", 0)]
    for number in range(5):
        ledger.submit(unit(number), 0.0, lambda n=number: called.append((f"unit {n}", ledger.position)))
        ledger.submit((), 0.0, lambda n=number: called.append((f"gate {n}", ledger.position)))
    assert len(called) == 1
    await ledger.drain()
    assert [name for name, _ in called[1:]] == [f"{kind} {n}" for n in range(5) for kind in ("unit", "gate")]
    assert called[-1] == ("gate 4", 10)
    assert ledger.idle
    ledger.close()


async def test_a_then_may_submit(settings: Settings) -> None:
    ledger = open_ledger(settings)
    called: list[str] = []

    def first() -> None:
        ledger.submit((), 0.0, lambda: called.append("gate inside"))
        ledger.submit(unit(2), 0.0, lambda: called.append("inside"))
        called.append("first")

    ledger.submit(unit(0), 0.0, first)
    ledger.submit(unit(1), 0.0, lambda: called.append("second"))
    await ledger.drain()
    await ledger.drain()
    assert called == ["first", "second", "gate inside", "inside"]
    ledger.close()


async def test_many_units_are_one_transaction(settings: Settings) -> None:
    ledger = open_ledger(settings)
    await fill(ledger, 100)
    assert (ledger.stats.commits, ledger.stats.units, ledger.stats.events) == (1, 100, 200)
    assert ledger.stats.biggest_batch == 200
    assert ledger.stats.bytes > 0 and ledger.stats.last_commit_seconds > 0
    await fill(ledger, 1500, 100)
    cap = 500 if settings.url else 2000
    assert ledger.stats.biggest_batch == cap
    assert ledger.stats.commits == 1 + -(-3000 // cap)
    ledger.close()


async def test_a_then_that_raises_does_not_stop_the_others(settings: Settings) -> None:
    ledger = open_ledger(settings)
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    called: list[int] = []
    ledger.submit(unit(0), 0.0, lambda: called.append(1 // 0))
    ledger.submit(unit(1), 0.0, lambda: called.append(1))
    await ledger.drain()
    assert called == [1]
    assert isinstance(reported[0], ZeroDivisionError)
    ledger.close()


async def test_what_is_pending_at_close_is_written_but_not_acknowledged(settings: Settings) -> None:
    ledger = open_ledger(settings)
    called: list[int] = []
    ledger.submit(unit(0), 0.0, lambda: called.append(0))
    await asyncio.sleep(0)
    for number in range(1, 1200):
        ledger.submit(unit(number), 0.0, lambda: called.append(1))
    ledger.close()
    ledger.close()
    assert 1 not in called
    ledger = open_ledger(settings)
    assert (ledger.position, ledger.clean) == (2400, True)
    ledger.close()
    await asyncio.sleep(0)


async def test_a_failed_commit_ends_the_ledger(settings: Settings) -> None:
    ledger = open_ledger(settings)
    await fill(ledger, 2)
    failures: list[CommitFailed] = []
    called: list[int] = []
    ledger.on_failure = failures.append
    steal_next_row(settings)
    ledger.submit(unit(2), 0.0, lambda: called.append(2))
    ledger.submit((), 0.0, lambda: called.append(3))
    with pytest.raises(CommitFailed):
        await ledger.drain()
    assert (len(failures), called, ledger.failed, ledger.position) == (1, [], True, 4)
    for refused in (
        lambda: ledger.submit(unit(3), 0.0),
        lambda: ledger.submit((), 0.0),
        lambda: ledger.save_checkpoint(b""),
    ):
        with pytest.raises(CommitFailed):
            refused()
    with pytest.raises(CommitFailed):
        await ledger.drain()
    ledger.close()
    give_back_row(settings)
    ledger = open_ledger(settings)
    assert not ledger.clean
    assert len(list(ledger.replay())) == 4
    await fill(ledger, 1, 2)
    ledger.close()
    with open_reader(settings) as reader:
        assert reader.verify().ok


def steal_next_row(settings: Settings) -> None:
    """Put a row of somebody else where the next one belongs: the position is then taken."""
    if settings.path:
        execute(
            settings.path, "INSERT INTO stored_events (rowid, originator_id, originator_version) VALUES (5, 'x', 1)"
        )
        return
    with postgres(settings) as connection:
        connection.execute(
            "INSERT INTO stored_events (notification_id, originator_id, originator_version)"
            " VALUES (5, gen_random_uuid(), 1)"
        )


def give_back_row(settings: Settings) -> None:
    if settings.path:
        execute(settings.path, "DELETE FROM stored_events WHERE rowid = 5")
        return
    with postgres(settings) as connection:
        connection.execute("DELETE FROM stored_events WHERE notification_id = 5")


def postgres(settings: Settings):  # type: ignore[no-untyped-def]  # psycopg's own type, imported where it is used
    import psycopg

    return psycopg.connect(settings.url or "", autocommit=True, options=f"-csearch_path={settings.schema}")


async def test_a_lost_server_connection_fails_the_ledger(postgres_settings: Settings) -> None:
    ledger = open_ledger(postgres_settings)
    await fill(ledger, 1)
    with postgres(postgres_settings) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'openportal ledger%'"
        )
    ledger.submit(unit(1), 0.0)
    with pytest.raises(CommitFailed):
        await ledger.drain()
    ledger.close()
    ledger = open_ledger(postgres_settings)
    assert len(list(ledger.replay())) == 2
    ledger.close()


async def test_a_unit_that_cannot_be_encoded_leaves_no_trace(settings: Settings) -> None:
    class Odd(Event, frozen=True):
        TOPIC = "Odd"
        what: object = None

    ledger = open_ledger(settings, [*EVENTS, Odd])
    await fill(ledger, 1)
    with pytest.raises(TypeError):
        ledger.submit([("agent@site", Finished("x")), ("new@stream", Odd(object()))], 0.0)
    with pytest.raises(UnknownEvent, match="Stranger"):
        ledger.submit([("agent@site", Finished("x")), ("agent@site", Stranger())], 0.0)
    with pytest.raises(LedgerError, match="name"):
        ledger.submit([("", Finished("x"))], 0.0)
    assert ledger.idle
    await fill(ledger, 1, 1)
    ledger.close()
    with open_reader(settings, EVENTS) as reader:
        assert reader.verify().ok
        assert [r.version for r in reader.records()] == [1, 1, 2, 2]


class Stranger(Event, frozen=True):
    TOPIC = "Stranger"


def test_a_second_writer_is_refused_with_the_pid_of_the_first(settings: Settings) -> None:
    held = open_ledger(settings)
    script = (
        "import sys, os; from pathlib import Path; from openportal.templemeads.ledger import Ledger, Settings\n"
        "from openportal.errors import LedgerLocked\n"
        "path, url, schema = sys.argv[1:]\n"
        "try: Ledger.open(Settings(path=Path(path) if path else None, url=url or None, schema=schema), [])\n"
        "except LedgerLocked as error: print(error)\n"
    )
    arguments = [str(settings.path or ""), settings.url or "", settings.schema]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert f"process {os.getpid()};" in done.stdout
    with pytest.raises(LedgerLocked):
        open_ledger(settings)
    held.close()
    open_ledger(settings).close()


def test_folder_and_file_are_ours_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    open_ledger(Settings(path=folder)).close()
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("ledger.sqlite", "lock", "reserve"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


def test_settings_name_one_place() -> None:
    with pytest.raises(ConfigError):
        Settings()
    with pytest.raises(ConfigError):
        Settings(path=Path("x"), url="postgresql://x")


texts = st.text(max_size=40)
events = st.one_of(
    st.builds(
        Received, texts, st.integers(-(2**63), 2**63 - 1), st.none() | texts, st.none() | texts, st.none() | texts
    ),
    st.builds(
        Finished, texts, st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.lists(texts).map(tuple)
    ),
)
units = st.lists(st.lists(st.tuples(st.text(min_size=1, max_size=20), events), min_size=1, max_size=4), max_size=6)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=units)
def test_any_events_come_back(written: list[list[tuple[str, Event]]], tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(path=tmp_path_factory.mktemp("ledger"), reserve_bytes=0)

    async def write() -> Ledger:
        ledger = open_ledger(settings)
        for number, each in enumerate(written):
            ledger.submit(each, number / 3)
        await ledger.drain()
        return ledger

    asyncio.run(write()).close()
    with open_reader(settings, EVENTS) as reader:
        found = list(reader.records())
        assert reader.verify().ok
    assert [(r.stream, r.event) for r in found] == [each for one in written for each in one]
    assert [r.at for r in found] == [number / 3 for number, one in enumerate(written) for _ in one]
    assert [r.unit for r in found] == [number + 1 for number, one in enumerate(written) for _ in one]


def test_the_clear_row_is_documented_json(tmp_path: Path) -> None:
    async def write() -> None:
        ledger = open_ledger(Settings(path=tmp_path))
        ledger.submit([("a@b", Finished("j")), ("a@b", Received("k", 1, "in clear", None, None))], 5.5)
        await ledger.drain()
        ledger.close()

    asyncio.run(write())
    first, second = (row[0] for row in execute(tmp_path, "SELECT state FROM stored_events ORDER BY rowid"))
    assert first == b'{"u":1,"t":5.5,"l":1,"e":{"job":"j"}}'
    assert second.startswith(b'{"u":1,"t":5.5,"l":1,"e":{"job":"k","number":1,"instruction":"in clear"},"d":"')
    assert set(msgspec.json.decode(second)) == {"u", "t", "l", "e", "d"}
    assert ALICE.encode() not in second
