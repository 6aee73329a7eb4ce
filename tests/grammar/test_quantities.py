from collections.abc import Callable
from typing import Any

import pytest
from grammar_samples import check_inputs
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.quantities import U64_MAX, Allocation, Node, Usage, saturate

UNITS = ("minutes", "hours", "days", "weeks", "months", "years")


def usage_shown(usage: Usage) -> dict[str, Any]:
    units = {unit: getattr(usage, unit) for unit in UNITS}
    return {"str": str(usage), "seconds": usage.seconds, "in_hours": usage.in_hours(), **units}


def usage_made(unit: str) -> Callable[[float], dict[str, Any]]:
    def made(amount: float) -> dict[str, Any]:
        usage = getattr(Usage, f"from_{unit}")(amount)
        return {"str": str(usage), "seconds": usage.seconds}

    return made


def allocation_shown(allocation: Allocation) -> dict[str, Any]:
    kinds = [f"is_{unit}_hours" for unit in ("node", "core", "gpu", "cpu", "gb", "billing")]
    shown = {name: getattr(allocation, name) for name in ("size", "units", "is_empty", *kinds)}
    return {"str": str(allocation), **shown}


def node_shown(node: Node) -> dict[str, Any]:
    names = ("cpus", "cores_per_cpu", "cores", "gpus", "memory_mb", "memory_gb", "billing")
    return {"str": str(node), **{name: getattr(node, name) for name in names}}


def sized(given: list[Any]) -> dict[str, Any]:
    shown = allocation_shown(Allocation.from_size_and_units(*given))
    return {name: shown[name] for name in ("str", "size", "units")}


def to_hours(method: str) -> Callable[[dict[str, Any]], Any]:
    def converted(given: dict[str, Any]) -> Any:
        usage = getattr(Allocation.parse(given["allocation"]), method)(Node(*given["node"]))
        return {method: usage.seconds} if method == "to_node_hours" else usage.seconds

    return converted


def from_hours(method: str) -> Callable[[dict[str, Any]], str]:
    return lambda given: str(getattr(Allocation, method)(Usage(given["usage_seconds"]), Node(*given["node"])))


# (type, operation): how many answers are recorded, and what we do.
RECORDED: dict[tuple[str, str], tuple[int, Callable[[Any], Any]]] = {
    ("Usage", "new"): (21, lambda seconds: usage_shown(Usage(seconds))),
    ("Usage", "from_minutes"): (7, usage_made("minutes")),
    ("Usage", "from_hours"): (6, usage_made("hours")),
    ("Usage", "from_days"): (6, usage_made("days")),
    ("Usage", "from_weeks"): (7, usage_made("weeks")),
    ("Usage", "from_months"): (6, usage_made("months")),
    ("Usage", "from_years"): (4, usage_made("years")),
    ("Usage", "add"): (5, lambda pair: (Usage(pair[0]) + Usage(pair[1])).seconds),
    ("Usage", "sub"): (3, lambda pair: (Usage(pair[0]) - Usage(pair[1])).seconds),
    ("Usage", "mul"): (5, lambda pair: (Usage(pair[0]) * pair[1]).seconds),
    ("Allocation", "canonicalize"): (26, Allocation.canonicalize),
    ("Allocation", "parse"): (34, lambda text: allocation_shown(Allocation.parse(text))),
    ("Allocation", "from_size_and_units"): (7, sized),
    ("Node", "construct"): (5, lambda counts: node_shown(Node.construct(*counts))),
    ("Node", "new"): (1, lambda _: node_shown(Node())),
    ("Node", "allocation_to_hours"): (32, to_hours("to_node_hours")),
    ("Node", "allocation_to_core_hours"): (34, to_hours("to_core_hours")),
    ("Node", "allocation_to_gpu_hours"): (33, to_hours("to_gpu_hours")),
    ("Node", "allocation_to_cpu_hours"): (34, to_hours("to_cpu_hours")),
    ("Node", "allocation_to_gb_hours"): (33, to_hours("to_gb_hours")),
    ("Node", "allocation_to_billing_hours"): (31, to_hours("to_billing_hours")),
    ("Node", "allocation_from_cpu_hours"): (3, from_hours("from_cpu_hours")),
    ("Node", "allocation_from_core_hours"): (3, from_hours("from_core_hours")),
    ("Node", "allocation_from_gpu_hours"): (2, from_hours("from_gpu_hours")),
    ("Node", "allocation_from_gb_hours"): (5, from_hours("from_gb_hours")),
    ("Node", "allocation_from_billing_hours"): (3, from_hours("from_billing_hours")),
}


@pytest.mark.parametrize(("kind", "op"), RECORDED)
def test_every_recorded_answer_is_ours_too(kind: str, op: str) -> None:
    check_inputs(kind, op, *RECORDED[kind, op])


@given(st.floats())
def test_what_is_cut_is_a_number_of_the_network(value: float) -> None:
    assert 0 <= saturate(value) <= U64_MAX


@given(st.integers(0, U64_MAX), st.integers(0, U64_MAX), st.floats())
def test_arithmetic_stops_at_its_bounds(one: int, other: int, factor: float) -> None:
    assert (Usage(one) + Usage(other)).seconds == min(one + other, U64_MAX)
    assert (Usage(one) - Usage(other)).seconds == max(one - other, 0)
    assert 0 <= (factor * Usage(one)).seconds <= U64_MAX


@pytest.mark.parametrize("value", [None, 5, {}, {"seconds": 1.0}, {"seconds": True}, {"seconds": -1}, {"seconds": "1"}])
def test_a_usage_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(GrammarError, match="whole number of seconds"):
        Usage.from_wire(value)


def test_a_usage_is_read_back() -> None:
    assert Usage.from_wire({**Usage(5).to_wire(), "more": 1}) == Usage.from_seconds(5)
    assert sum([Usage(1), Usage(2)], Usage()) == Usage(3) > Usage(2)


@given(st.floats(0, allow_infinity=False), st.sampled_from(["NHR", "node hours", "CPUHR", "foo", "Foo Bar"]))
def test_an_allocation_is_read_back(size: float, units: str) -> None:
    allocation = Allocation.from_size_and_units(size, units)
    assert Allocation.parse(str(allocation)) == allocation


@given(st.text() | st.text("0123456789.eE+- nhrNHR\n", max_size=15))
def test_any_text_is_an_allocation_or_refused(text: str) -> None:
    try:
        assert Allocation.parse(str(Allocation.parse(text))) == Allocation.parse(text)
    except GrammarError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("text", "size"), [("1e21 NHR", "1000000000000000000000"), ("1e-7 NHR", "0.0000001"), ("-0 NHR", "-0")]
)
def test_sizes_are_printed_without_an_exponent(text: str, size: str) -> None:
    assert str(Allocation.parse(text)) == f"{size} NHR"


@pytest.mark.parametrize("size", [float("nan"), float("inf"), -1.0])
def test_sizes_are_finite_and_not_negative(size: float) -> None:
    with pytest.raises(GrammarError, match="finite"):
        Allocation(size, "NHR")


@pytest.mark.parametrize("make", [lambda: Allocation(1.0, None), lambda: Allocation(1.0, "nhr"), lambda: Node(-1)])
def test_values_are_in_their_final_form(make: Callable[[], object]) -> None:
    with pytest.raises(GrammarError):
        make()


def test_node_hours_need_no_node() -> None:
    assert str(Allocation.from_node_hours(Usage(36000))) == "10 NHR"
