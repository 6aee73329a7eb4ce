"""The board as an aggregate: what is open, what ended, and how much of it is kept."""

from __future__ import annotations

from uuid import uuid4

import msgspec
import pytest

from openportal.errors import Unavailable
from openportal.templemeads import board as module
from openportal.templemeads.board import MAX_OPEN_JOBS, MAX_STORED_RESULT_BYTES, RECENT_GRACE_SECONDS, Board, BoardImage
from openportal.templemeads.events import Ended, Intended, Joined, Quarantined, Received, Sent, Started, StepRefused
from openportal.templemeads.job import State
from openportal.templemeads.ledger import ERASED

NOW = 1_000_000


def received(id: str, command: str = "a.b get_users demo.brics", expires: int = NOW + 120) -> Received:
    return Received(id, NOW, expires, 2, "demo.brics", command)


def sent(id: str, command: str = "a.b get_users demo.brics") -> Sent:
    return Sent(id, NOW, NOW + 120, 2, "demo.brics", command)


def ended(id: str, kind: str | None = None) -> Ended:
    return Ended(id, 1002, "demo.brics", "no" if kind else "[]", None if kind else "T", kind)


def full_board(jobs: int) -> Board:
    board = Board("a@default")
    for number in range(jobs):
        board.received(received(f"j{number}"), NOW, number, "demo.brics")
    return board


def test_a_board_knows_its_neighbour_and_zone() -> None:
    board = Board("a@remote>local")
    assert (board.name, board.zone) == ("a", "remote>local")


def test_no_job_is_taken_beyond_the_cap() -> None:
    full_board(MAX_OPEN_JOBS - 1).check_room()
    with pytest.raises(Unavailable, match="until some finish"):
        full_board(MAX_OPEN_JOBS).check_room()


def test_the_cap_counts_open_jobs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN_JOBS", 2)
    board = full_board(2)
    board.ended(ended("j0"), NOW, 9)
    board.check_room()


def test_a_job_that_ended_is_found_among_the_recent() -> None:
    board = full_board(1)
    assert board.find("j0") is board.open["j0"].job
    board.ended(ended("j0"), NOW + 3, 9)
    found = board.find("j0")
    assert found is not None
    assert (found.state, found.version, found.result, found.changed) == (State.COMPLETE, 1002, "[]", NOW + 3)
    assert not board.open
    assert board.find("other") is None


def test_the_recent_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECENT_JOBS", 3)
    board = full_board(5)
    for number in range(5):
        event = msgspec.structs.replace(ended(f"j{number}"), result=None, size=99_999, sha256="00")
        board.ended(event, NOW, 10 + number)
    assert list(board.recent) == ["j2", "j3", "j4"]
    assert board.dropped == {"j2", "j3", "j4"}


def test_the_recent_are_forgotten_when_nobody_can_ask_any_more() -> None:
    board = Board("a@default")
    for number in range(3):
        board.received(received(f"j{number}", expires=NOW + number), NOW, number, None)
        board.ended(ended(f"j{number}"), NOW, 10 + number)
    board.forget_expired(NOW + RECENT_GRACE_SECONDS - 1)
    assert len(board.recent) == 3
    board.forget_expired(NOW + RECENT_GRACE_SECONDS + 1)
    assert list(board.recent) == ["j2"]


def test_steps_of_the_work_are_kept_with_the_job() -> None:
    board = full_board(1)
    board.started(Started("j0", 2))
    board.intended(Intended("j0", 3, "add", "demo.brics"))
    board.step_refused(StepRefused("j0", "account.x#1", "unavailable", "nobody"))
    board.quarantined(Quarantined("j0", 4))
    entry = board.open["j0"]
    assert (entry.attempts, entry.effects, entry.quarantined) == (2, 3, True)
    assert entry.outcomes["account.x#1"].kind == "unavailable"


def joined_board() -> Board:
    board = Board("b@default")
    for order, id in enumerate(["lead", "f1", "f2"]):
        board.sent(sent(id), NOW, order, "demo.brics")
        if id != "lead":
            board.joined(Joined(id, "lead"))
    return board


def test_who_joined_is_not_sent() -> None:
    board = joined_board()
    assert [entry.job.id for entry in board.outbound()] == ["lead"]
    assert board.open["lead"].followers == ["f1", "f2"]
    assert board.leaders == {("a.b get_users demo.brics", None): "lead"}


def test_when_the_leader_expires_the_first_that_joined_leads() -> None:
    board = joined_board()
    board.ended(ended("lead", "expired"), NOW, 9)
    assert [entry.job.id for entry in board.outbound()] == ["f1"]
    assert board.open["f1"].followers == ["f2"]
    assert board.open["f2"].leader == "f1"
    assert board.leaders == {("a.b get_users demo.brics", None): "f1"}


def restored(board: Board) -> Board:
    image = msgspec.json.decode(msgspec.json.encode(board.image()), type=BoardImage)
    other = Board(board.peer)
    other.restore(image)
    return other


def test_an_image_holds_everything() -> None:
    board = joined_board()
    board.received(received("in"), NOW, 5, "demo.brics")
    board.ended(ended("lead", "run"), NOW, 9)
    other = restored(board)
    assert other.image() == board.image()
    assert other.leaders == board.leaders
    assert other.closed == board.closed


def test_an_image_is_as_small_as_the_log() -> None:
    board = full_board(2)
    for id, kind in (("j0", None), ("j1", "run")):
        event = ended(id, kind)
        body = "x" * (MAX_STORED_RESULT_BYTES + 1)
        entry = board.ended(msgspec.structs.replace(event, result=None, size=len(body), sha256="00"), NOW, 9)
        logged = board.recent[id]
        board.keep_body(msgspec.structs.replace(entry.job, result=body))
        assert board.find(id).result == body  # type: ignore[union-attr]
        assert logged in board.image().recent
        assert restored(board).dropped >= {id}
    assert len(msgspec.json.encode(board.image())) < MAX_STORED_RESULT_BYTES


def test_a_job_whose_body_is_at_hand_again_is_complete() -> None:
    board = full_board(1)
    board.ended(msgspec.structs.replace(ended("j0"), result=None, size=99_999, sha256="00"), NOW, 9)
    assert board.lacks_body("j0")
    board.keep_body(msgspec.structs.replace(board.recent["j0"], result="[1]"))
    assert not board.lacks_body("j0")
    assert not board.lacks_body("never heard of")


def test_opening_a_job_again_takes_it_from_the_recent() -> None:
    board = full_board(1)
    board.ended(msgspec.structs.replace(ended("j0"), result=None, size=99_999, sha256="00"), NOW, 9)
    board.received(received("j0"), NOW, 10, None)
    assert not board.recent
    assert not board.lacks_body("j0")
    assert str(uuid4()) not in board.open


def test_a_job_of_an_erased_person_replays() -> None:
    """All personal fields of such a row read the same, the unknown fields of newer versions among them."""
    board = Board("a@default")
    event = Received("j", NOW, NOW + 120, 2, ERASED, ERASED, ERASED)
    assert board.received(event, NOW, 1, ERASED).job.extra is None
