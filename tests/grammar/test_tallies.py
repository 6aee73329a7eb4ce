import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.daily_usage import DailyProjectUsageReport
from openportal.grammar.quantities import U64_MAX, Usage
from openportal.grammar.tallies import NOTHING, Family, add_counts, add_nested, families_of, total_of, total_of_nested

names = st.sampled_from(["alice", "bob", "carl"])
counts = st.dictionaries(names, st.integers(0, U64_MAX))
FAMILIES = families_of(DailyProjectUsageReport)


def read(family: Family, wire: Any) -> Any:
    return family.read(msgspec.convert(wire, family.kind))


def test_every_field_but_one_has_a_family() -> None:
    assert set(DailyProjectUsageReport.__struct_fields__) - set(FAMILIES) == {"is_complete"}
    assert len(set(map(id, FAMILIES.values()))) == 6


@given(counts, counts, counts)
def test_sums_stop_at_the_largest_number(one: dict[str, int], other: dict[str, int], third: dict[str, int]) -> None:
    added = add_counts(one, other)
    assert added == {key: min(U64_MAX, one.get(key, 0) + other.get(key, 0)) for key in one | other}
    assert add_counts(added, third) == add_counts(one, add_counts(other, third))
    used, others = ({user: number for user, number in each.items() if number} for each in (other, third))
    expected = {"gpu": add_counts(one, used)} | ({"cpu": others} if others else {})
    assert add_nested({"gpu": one}, {"gpu": other, "cpu": third}) == expected
    assert total_of(one) == Usage(min(U64_MAX, sum(one.values())))
    assert total_of_nested({"a": one, "b": other}) == total_of(one) + total_of(other)


@pytest.mark.parametrize("name", ["num_jobs", "user_job_counts", "reports", "components"])
def test_a_family_reads_what_it_writes_and_nothing_too_large(name: str) -> None:
    family = FAMILIES[name]

    def wire(number: int) -> Any:
        shapes = {
            "num_jobs": number,
            "user_job_counts": {"a": number},
            "reports": {"a": {"seconds": number}},
            "components": {"gpu": {"a": {"seconds": number}}},
        }
        return shapes[name]

    assert family.write(read(family, wire(U64_MAX))) == wire(U64_MAX)
    with pytest.raises(GrammarError, match="cannot be more than"):
        read(family, wire(U64_MAX + 1))


def test_nothing_is_an_empty_mapping() -> None:
    assert NOTHING == {} == {**NOTHING}
    assert not NOTHING
    assert pickle.loads(pickle.dumps(NOTHING)) == NOTHING
    with pytest.raises(KeyError):
        NOTHING["alice"]
