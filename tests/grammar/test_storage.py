from collections.abc import Callable
from typing import Any

import pytest
from grammar_samples import check_inputs
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.quantities import U64_MAX
from openportal.grammar.storage import Quota, QuotaLimit, StorageSize, StorageUsage

UNITS = ("kilobytes", "megabytes", "gigabytes", "terabytes", "petabytes")


def size_shown(size: StorageSize, *names: str) -> dict[str, Any]:
    return {"str": str(size), "bytes": size.bytes, **{name: getattr(size, name) for name in names}}


def limit_shown(text: str) -> dict[str, Any]:
    limit = QuotaLimit.parse(text)
    size = None if limit.size is None else str(limit.size)
    return {"str": str(limit), "size": size, "is_limited": limit.is_limited, "is_unlimited": limit.is_unlimited}


def quota_shown(quota: Quota) -> dict[str, Any]:
    shown = {name: getattr(quota, name) for name in ("is_unlimited", "is_over_quota", "percentage_used")}
    usage = None if quota.usage is None else str(quota.usage)
    return {"str": str(quota), "limit": str(quota.limit), "usage": usage, **shown}


def with_usage(pair: list[str]) -> dict[str, Any]:
    return quota_shown(Quota.with_usage(QuotaLimit.parse(pair[0]), StorageUsage.parse(pair[1])))


def reparsed(text: str) -> dict[str, str]:
    quota = Quota.parse(text)
    return {"str": str(quota), "repr": f'Quota("{quota}")', "reparsed": str(Quota.parse(str(quota)))}


RECORDED: dict[tuple[str, str], tuple[int, Callable[[Any], Any]]] = {
    ("StorageSize", "parse"): (83, lambda text: size_shown(StorageSize.parse(text))),
    ("StorageSize", "from_bytes"): (24, lambda number: size_shown(StorageSize.from_bytes(number), *UNITS)),
    ("StorageSize", "from_kilobytes"): (7, lambda amount: size_shown(StorageSize.from_kilobytes(amount))),
    ("StorageSize", "from_megabytes"): (3, lambda amount: size_shown(StorageSize.from_megabytes(amount))),
    ("StorageSize", "from_gigabytes"): (6, lambda amount: size_shown(StorageSize.from_gigabytes(amount))),
    ("StorageSize", "from_terabytes"): (4, lambda amount: size_shown(StorageSize.from_terabytes(amount))),
    ("StorageSize", "from_petabytes"): (7, lambda amount: size_shown(StorageSize.from_petabytes(amount))),
    ("QuotaLimit", "parse"): (17, limit_shown),
    ("Quota", "parse"): (36, lambda text: quota_shown(Quota.parse(text))),
    ("Quota", "with_usage"): (9, with_usage),
    ("Quota", "eq_reparse_str"): (2, reparsed),
}


@pytest.mark.parametrize(("kind", "op"), RECORDED)
def test_every_recorded_answer_is_ours_too(kind: str, op: str) -> None:
    check_inputs(kind, op, *RECORDED[kind, op])


# As the published client answers: a size overlooks no spaces within its unit, a limit does.
@pytest.mark.parametrize(
    ("text", "size", "limit"),
    [
        ("1 G B", None, "1024.00 MB"),
        ("1\u00a0kilo bytes", None, "1024 B"),
        ("1kılobytes", "1024 B", "1024 B"),
        ("1 kb 5", "15.00 KB", "15.00 KB"),
        ("0.9999999999999999999B", "1 B", "1 B"),
        *((text, None, None) for text in ("1.5.GB", ".", "１GB", "1GB\x1c", "- 1 GB", "1", "un limited")),
    ],
)
def test_sizes_and_limits_are_read_as_loosely_as_the_network_does(
    text: str, size: str | None, limit: str | None
) -> None:
    for parse, printed in ((StorageSize.parse, size), (QuotaLimit.parse, limit)):
        if printed is not None:
            assert str(parse(text)) == printed
        else:
            with pytest.raises(GrammarError):
                parse(text)


@given(st.text() | st.text("0123456789.KMGTPB unlimited\n", max_size=15))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (StorageSize.parse, StorageUsage.parse, QuotaLimit.parse, Quota.parse):
        try:
            parse(text)
        except GrammarError as error:
            assert str(error)


@given(st.integers(0, U64_MAX))
def test_what_is_printed_is_close_to_what_is_read_back(number: int) -> None:
    size = StorageSize(number)
    assert abs(StorageSize.parse(str(size)).bytes - number) <= number * 0.006
    assert StorageSize.from_wire(size.bytes) == size


@pytest.mark.parametrize(
    "value",
    ["10GB", None, {}, {"usage": "1 GB"}, {"limit": 1024}, {"limit": None}, {"limit": ""}, {"limit": "x"}]
    + [{"limit": "1 GB", "usage": usage} for usage in (512.0, -1, True, "unlimited", 2**64, {"size": 1})],
)
def test_a_quota_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(GrammarError):
        Quota.from_wire(value)


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ({"limit": " UNLIMITED ", "more": 1}, {"limit": "unlimited"}),
        ({"limit": "10GB", "usage": None}, {"limit": "10.00 GB"}),
        ({"limit": "10GB", "usage": 512}, {"limit": "10.00 GB", "usage": "512 B"}),
    ],
)
def test_a_quota_is_read_from_json(value: object, wire: object) -> None:
    assert Quota.from_wire(value).to_wire() == wire


def test_limits_are_made_in_either_way() -> None:
    size = StorageSize.from_gigabytes(10)
    assert Quota.limited(size).limit == QuotaLimit.limited(size) == QuotaLimit.from_wire(size.to_wire())
    assert Quota.unlimited().limit == QuotaLimit.unlimited() == QuotaLimit()
    assert StorageUsage.from_wire("5 GB").bytes == StorageUsage.parse("5 GB").size.bytes < size.bytes
