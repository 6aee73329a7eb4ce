import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from grammar_samples import check_inputs
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.awards import (
    FIELDS,
    AwardDetails,
    DomainPattern,
    Link,
    MembershipControl,
    Note,
    ProjectDetails,
    ProjectTemplate,
)
from openportal.grammar.dates import Timestamp

NOTE = {"timestamp": "2024-01-15T10:30:00Z", "author": "Jane", "text": "Approved."}
FULL: dict[str, Any] = {
    "name": "My project",
    "template": "cpu-cluster",
    "key": "k",
    "description": "d",
    "members": {"a@example.com": "pi"},
    "start_date": "2024-01-01",
    "end_date": "2024-12-31",
    "allocation": "1000 NHR",
    "breakdown": {"a": "2"},
    "award": {"id": "061", "url": "https://example.com/061"},
    "call": {"id": "E"},
    "project_link": {},
    "renewal": {"url": "http://x"},
    "notes": [NOTE],
    "earliest_approve": "2024-01-15T11:30:00.500Z",
    "membership_control": "locked",
    "allowed_domains": ["*.example.com", "jo@x.org"],
}


def shown(text: str) -> dict[str, Any]:
    award = AwardDetails.from_json(text)
    props: dict[str, Any] = {}
    for name in (*(field.attribute for field in FIELDS), "can_change_membership", "can_change_roles"):
        value = getattr(award, name)
        if isinstance(value, tuple):
            props[name] = [str(one) for one in value]
        elif isinstance(value, Timestamp):
            props[name] = value.second.isoformat()
        else:
            props[name] = value if value is None or isinstance(value, dict | bool) else str(value)
    props["membership_control"] = str(award.membership_control or MembershipControl.Open)
    return {"json_text": award.to_json(), "str": str(award), "props": props}


def made(wire: object) -> AwardDetails:
    return AwardDetails.from_json(json.dumps(wire))


def allowed(given: dict[str, Any], what: str) -> bool:
    return bool(getattr(made({"allowed_domains": given["allowed_domains"]}), f"is_{what}_allowed")(given[what]))


def linked(url: str) -> dict[str, Any]:
    link = Link().with_url(url)
    return {"url": link.url, "str": str(link), "award_json": AwardDetails(award=link).to_wire()["award"]}


def identified(id: str) -> dict[str, Any]:
    link = Link().with_id(id)
    return {"id": link.id, "str": str(link), "is_empty": link.is_empty}


def control(text: str) -> dict[str, Any]:
    value = MembershipControl.parse(text)
    return {
        "str": str(value),
        "can_change_membership": value.can_change_membership,
        "can_change_roles": value.can_change_roles,
    }


def pattern(text: str) -> dict[str, str]:
    value = DomainPattern.parse(text)
    return {"str": str(value), "pattern": value.pattern}


RECORDED: dict[tuple[str, str], tuple[int, Callable[[Any], Any]]] = {
    ("AwardDetails", "from_json"): (65, shown),
    ("AwardDetails", "merge"): (17, lambda pair: made(pair[0]).merge(made(pair[1])).to_json()),
    ("AwardDetails", "add_member"): (
        16,
        lambda given: made(given["award"]).add_member(given["email"], given["role"]).to_json(),
    ),
    ("AwardDetails", "is_email_allowed"): (46, lambda given: allowed(given, "email")),
    ("AwardDetails", "is_domain_allowed"): (36, lambda given: allowed(given, "domain")),
    ("DomainPattern", "parse"): (37, pattern),
    ("DomainPattern", "matches"): (19, lambda pair: DomainPattern(pair[0]).matches(pair[1])),
    ("Link", "set_url"): (18, linked),
    ("Link", "set_id"): (3, identified),
    ("MembershipControl", "parse"): (9, control),
    ("ProjectTemplate", "parse"): (15, lambda text: {"str": str(ProjectTemplate.parse(text))}),
}


@pytest.mark.parametrize(("kind", "op"), RECORDED)
def test_every_recorded_answer_is_ours_too(kind: str, op: str) -> None:
    check_inputs(kind, op, *RECORDED[kind, op])


def test_every_field_is_written_as_it_is_read() -> None:
    assert list(FULL) == [field.key for field in FIELDS]
    assert made(FULL).to_wire() == FULL
    assert ProjectDetails.parse(str(made(FULL))) == made(FULL)


@pytest.mark.parametrize("key", FULL)
def test_a_field_of_another_type_is_named(key: str) -> None:
    with pytest.raises(GrammarError, match=f"^{key} of an award: "):
        made({key: 5})


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x",
            "[]",
            "null",
            '{"name":"a","name":"b"}',
            '{"x":NaN}',
            '{"name":"\\ud800"}',
            "{} x",
            '{"name":"a\nb"}',
        ),
        *(
            '{"notes":null}',
            '{"breakdown":null}',
            '{"award":["a"]}',
            '{"award":{"id":5}}',
            '{"members":{"a":"b","a":"c"}}',
        ),
        '{"notes":[{"timestamp":"2024-01-15T10:30:00Z","author":"a"}]}',
    ],
)
def test_another_document_is_refused(text: str) -> None:
    with pytest.raises(GrammarError):
        AwardDetails.from_json(text)


def test_a_document_of_great_depth_is_refused() -> None:
    with pytest.raises(GrammarError):
        AwardDetails.from_json('{"x":' + "[" * 100_000 + "]" * 100_000 + "}")


@given(st.text() | st.text('{}[]":,nametmplx \\u', max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (
        AwardDetails.parse,
        DomainPattern.parse,
        ProjectTemplate.parse,
        MembershipControl.parse,
        Link().with_url,
    ):
        try:
            parse(text)
        except GrammarError as error:
            assert str(error)


# As the published client answers: what browsers take is a URL.
@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://x:65535",
            "http://x:",
            "http:///x",
            "https:/x",
            "http:\\\\x",
            "http://a%41/",
            "http://a`b",
            "http://a_b/",
        ),
        *(
            "http://a..b/",
            "http://.",
            "http://1.2.3",
            "http://256",
            "http://0x7f",
            "http://1.a",
            "http://[::1.2.3.4]:8",
        ),
        *(
            "http://a:b@c:1/",
            "http://a@b@c",
            "http://x?y",
            "ht\ntp://x",
            "http://x/ä",
            "http://日本",
            "http://x:00080/",
        ),
    ],
)
def test_a_url_of_any_shape_is_kept(url: str) -> None:
    assert Link(url=url).to_wire() == {"url": url}


@pytest.mark.parametrize(
    "url",
    [
        *("http://x:65536/", "http://x:a", "http:", "http:/", "http://?", "http://u@", "http://:80", "http://%", "x"),
        *(
            "http://a%20b/",
            "http://a<b",
            "http://a%00b",
            "http://％４１",
            "http://a b/",
            "http://x\u00a0/",
            "http://\u00ad",
        ),
        *("http://1.2.3.256", "http://4294967296", "http://1.2.3.4.5", "http://a.1", "http://a.0x", "http://09"),
        *("http://1..2", "http://[::1", "http://[::1]x", "http://[::g]", "http://[1.2.3.4]", "1http://x"),
        *("ftp://x", "javascript:1"),
    ],
)
def test_what_is_no_url_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(GrammarError):
        Link(url=url)


def test_a_link_keeps_an_empty_id_but_no_empty_url() -> None:
    assert Link.from_wire({"id": "", "url": " "}).to_wire() == {"id": ""}
    assert Link.from_wire({"id": None, "url": " http://x "}) == Link(url="http://x")
    assert Link(id="x").with_id("  ").is_empty


def test_notes_of_a_later_award_are_put_in_order() -> None:
    early, late = (Note.from_wire({**NOTE, "timestamp": f"2024-01-{day}T10:30:00Z"}) for day in (13, 15))
    other = Note(late.timestamp, "Joe", "No.")
    award = AwardDetails(notes=(late, early, early))
    assert award.merge(AwardDetails()).notes == (early, early, late)
    assert award.merge(AwardDetails(notes=(late, other, other))).notes == (early, early, late, other)
    assert award.add_note(late).notes == (late, early, early, late)


def test_what_a_later_award_leaves_out_stays() -> None:
    award = made(FULL)
    assert award.merge(AwardDetails()) == award
    assert AwardDetails().merge(award) == award
    assert award.merge(AwardDetails(award=Link(), members={})).to_wire() == {**FULL, "award": {}, "members": {}}


def test_members_are_checked_when_they_are_added() -> None:
    award = made({"members": {"not checked": "pi"}, "allowed_domains": ["x.org"]})
    assert award.add_member(" a@x.org ", " pi ").members == {"a@x.org": " pi ", "not checked": "pi"}
    assert award.remove_member("not checked").members == {}
    assert award.remove_member("nobody") is award
    for email, role in (("a@y.org", "pi"), ("bad", "pi"), ("x.org", "pi"), ("a@x.org", " ")):
        with pytest.raises(GrammarError):
            award.add_members({"b@x.org": "pi", email: role})


def test_a_domain_is_allowed_once() -> None:
    one = AwardDetails().add_allowed_domain(DomainPattern("x.org"))
    assert one.add_allowed_domain(DomainPattern("x.org")) == one
    assert one.add_allowed_domain(DomainPattern("X.org")).to_wire()["allowed_domains"] == ["x.org", "X.org"]


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError):
        AwardDetails().name = "x"  # type: ignore[misc]
    assert AwardDetails(start_date=date(1900, 1, 1)).to_wire()["start_date"] == "1900-01-01"
