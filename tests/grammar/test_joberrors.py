import json

import pytest
from grammar_samples import answers
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.joberrors import CLASSES, JobFailure, failure_of, recovered


def test_every_recorded_message_is_read_the_same() -> None:
    recorded = answers("error_from_message", "call")
    assert len(recorded) == 19
    for answer in recorded:
        failure = recovered(answer["input"])
        assert {"class": failure.class_name, "str": failure.message} == answer["output"]


def test_every_recorded_job_that_failed_is_read_the_same() -> None:
    checked = 0
    for answer in answers("Job", "from_json"):
        job = json.loads(answer["input"]) if answer["ok"] else {}
        if job.get("state") != "Error":
            continue
        checked += 1
        failure = failure_of(job.get("error"), job.get("result"))
        output = answer["output"]
        assert (failure.kind, failure.class_name) == (output["error_kind"], output["error_class"])
        assert failure.message == output["error_str"]
    assert checked == 26


def test_every_recorded_failure_is_written_the_same() -> None:
    checked = 0
    for answer in answers("Job", "errored"):
        if not answer["ok"]:
            continue
        error = answer["output"]["error"]
        failure = JobFailure.from_wire(error)
        if failure.class_name in CLASSES.values():
            checked += 1
            assert failure.to_wire() == error
            assert failure == recovered(answer["output"]["result"])
    assert checked == 6


# As the published client answers.
@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("ManagedProjectPendingError: ", "OpenPortalOtherError", "ManagedProjectPendingError:"),
        ("ManagedProjectPendingError:  two", "ManagedProjectPendingError", "two"),
        ("ManagedProjectPermissionError: a\nb", "ManagedProjectPermissionError", "a\nb"),
        ("RuntimeError{ ManagedProjectPendingError: x }", "ManagedProjectPendingError", "x"),
        ("RuntimeError{x", "OpenPortalOtherError", "x"),
        ("RuntimeError{a}b}", "OpenPortalOtherError", "a}b"),
        ("RuntimeError{}", "OpenPortalOtherError", ""),
    ],
)
def test_a_class_is_found_in_a_message(text: str, name: str, message: str) -> None:
    assert (recovered(text).class_name, recovered(text).message) == (name, message)


# As the published client answers, except for double braces: what 0.32 writes is not known to it.
KINDS = {
    "ManagedProjectPendingError": "award_pending",
    "ManagedProjectPendingError: wait": "award_pending",
    "RuntimeError{ManagedProjectPendingError: wait}": "award_pending",
    "ManagedProjectPendingErrors": "unknown",
    "ManagedProjectRejectedError: no": "award_rejected",
    "ManagedProjectPermissionError": "award_permission",
    "OpenPortalUnsupportedCommandError: x": "unsupported",
    "": "expired",
    " ": "unknown",
    "ExpirationError{}": "expired",
    "ExpirationError{{}}": "expired",
    "ExpirationError{x}": "unknown",
    "RuntimeError{ExpirationError{}}": "expired",
    "RuntimeError{ExpirationError{{}}}": "expired",
    "UnknownError{}": "unknown",
    "RuntimeError{UnknownError{}}": "unknown",
    "RuntimeError{UnknownError{{}}}": "unknown",
    "RuntimeError{no such thing}": "run",
    "RuntimeError{RuntimeError{x}}": "run",
    "RuntimeError{cut": "run",
    "no such thing": "unknown",
}


@pytest.mark.parametrize(("text", "kind"), KINDS.items())
def test_prose_tells_its_kind(text: str, kind: str) -> None:
    assert recovered(text).kind == kind


@given(st.sampled_from(sorted(CLASSES)), st.text().map(str.strip).filter(bool))
def test_a_failure_is_read_back(kind: str, message: str) -> None:
    failure = JobFailure(kind, CLASSES[kind], recovered(f"{CLASSES[kind]}: {message}").message)
    assert JobFailure.from_wire(failure.to_wire()) == failure


@pytest.mark.parametrize("value", ["x", 5, {}, {"kind": "x"}, {"message": "x"}, {"kind": 5, "message": "x"}])
def test_an_error_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(GrammarError, match="a kind and a message"):
        failure_of(value, None)
