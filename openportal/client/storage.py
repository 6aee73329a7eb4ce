"""Space on a filesystem: sizes, usages, limits and quotas.

StorageSize.parse("10 GB")   StorageUsage(size)   QuotaLimit.limited(size)   Quota.with_usage(limit, usage)
"""

from __future__ import annotations

from dataclasses import replace
from functools import total_ordering
from typing import Self, final

from openportal.client.arguments import count, instance, real, text, told
from openportal.client.wrapper import Named, Same, maybe
from openportal.grammar import storage


@final
@total_ordering
class StorageSize(Same[storage.StorageSize]):
    """A number of bytes. Units are of 1024."""

    __slots__ = ()

    def __new__(cls, bytes: int) -> Self:
        return cls._of(storage.StorageSize(count(bytes, "bytes")))

    @staticmethod
    def parse(s: str) -> StorageSize:
        """From `10 GB` or `10.00GB`."""
        return StorageSize._of(told(storage.StorageSize.parse, text(s, "s")))

    @staticmethod
    def from_bytes(bytes: int) -> StorageSize:
        return StorageSize(bytes)

    @staticmethod
    def from_kilobytes(kb: float) -> StorageSize:
        return StorageSize._of(storage.StorageSize.of(real(kb, "kb"), "KB"))

    @staticmethod
    def from_megabytes(mb: float) -> StorageSize:
        return StorageSize._of(storage.StorageSize.of(real(mb, "mb"), "MB"))

    @staticmethod
    def from_gigabytes(gb: float) -> StorageSize:
        return StorageSize._of(storage.StorageSize.of(real(gb, "gb"), "GB"))

    @staticmethod
    def from_terabytes(tb: float) -> StorageSize:
        return StorageSize._of(storage.StorageSize.of(real(tb, "tb"), "TB"))

    @staticmethod
    def from_petabytes(pb: float) -> StorageSize:
        return StorageSize._of(storage.StorageSize.of(real(pb, "pb"), "PB"))

    @property
    def bytes(self) -> int:
        return self._value.bytes

    @bytes.setter
    def bytes(self, value: int) -> None:
        self._value = storage.StorageSize(count(value, "bytes"))

    @property
    def kilobytes(self) -> float:
        return self._value.kilobytes

    @kilobytes.setter
    def kilobytes(self, value: float) -> None:
        self._value = storage.StorageSize.of(real(value, "kb"), "KB")

    @property
    def megabytes(self) -> float:
        return self._value.megabytes

    @megabytes.setter
    def megabytes(self, value: float) -> None:
        self._value = storage.StorageSize.of(real(value, "mb"), "MB")

    @property
    def gigabytes(self) -> float:
        return self._value.gigabytes

    @gigabytes.setter
    def gigabytes(self, value: float) -> None:
        self._value = storage.StorageSize.of(real(value, "gb"), "GB")

    @property
    def terabytes(self) -> float:
        return self._value.terabytes

    @terabytes.setter
    def terabytes(self, value: float) -> None:
        self._value = storage.StorageSize.of(real(value, "tb"), "TB")

    @property
    def petabytes(self) -> float:
        return self._value.petabytes

    @petabytes.setter
    def petabytes(self, value: float) -> None:
        self._value = storage.StorageSize.of(real(value, "pb"), "PB")

    def __lt__(self, other: StorageSize) -> bool:
        return self._value < other._value if isinstance(other, StorageSize) else NotImplemented

    def __repr__(self) -> str:
        return f'StorageSize("{self}")'


@final
@total_ordering
class StorageUsage(Same[storage.StorageUsage]):
    """How much is in use."""

    __slots__ = ()

    def __new__(cls, size: StorageSize) -> Self:
        return cls._of(storage.StorageUsage(instance(size, StorageSize, "size")._value))

    @property
    def size(self) -> StorageSize:
        return StorageSize._of(self._value.size)

    @size.setter
    def size(self, value: StorageSize) -> None:
        self._value = storage.StorageUsage(instance(value, StorageSize, "size")._value)

    @property
    def bytes(self) -> int:
        return self._value.bytes

    @bytes.setter
    def bytes(self, value: int) -> None:
        self._value = storage.StorageUsage(storage.StorageSize(count(value, "bytes")))

    def __lt__(self, other: StorageUsage) -> bool:
        return self._value < other._value if isinstance(other, StorageUsage) else NotImplemented

    def __repr__(self) -> str:
        return f'StorageUsage("{self}")'


@final
class QuotaLimit(Named[storage.QuotaLimit]):
    """At most how much may be used: a size, or `unlimited`."""

    __slots__ = ()

    @staticmethod
    def limited(size: StorageSize) -> QuotaLimit:
        return QuotaLimit._of(storage.QuotaLimit(instance(size, StorageSize, "size")._value))

    @staticmethod
    def unlimited() -> QuotaLimit:
        return QuotaLimit._of(storage.QuotaLimit())

    @staticmethod
    def parse(s: str) -> QuotaLimit:
        return QuotaLimit._of(told(storage.QuotaLimit.parse, text(s, "s")))

    @property
    def size(self) -> StorageSize | None:
        return maybe(StorageSize)(self._value.size)

    def is_unlimited(self) -> bool:
        return self._value.is_unlimited

    def is_limited(self) -> bool:
        return self._value.is_limited

    def __repr__(self) -> str:
        return f'QuotaLimit("{self}")'


@final
class Quota(Same[storage.Quota]):
    """A limit, and what is used of it where that is known."""

    __slots__ = ()

    @staticmethod
    def limited(limit: StorageSize) -> Quota:
        return Quota._of(storage.Quota.limited(instance(limit, StorageSize, "limit")._value))

    @staticmethod
    def unlimited() -> Quota:
        return Quota._of(storage.Quota.unlimited())

    @staticmethod
    def with_usage(limit: QuotaLimit, usage: StorageUsage) -> Quota:
        return Quota._of(
            storage.Quota(instance(limit, QuotaLimit, "limit")._value, instance(usage, StorageUsage, "usage")._value)
        )

    @staticmethod
    def parse(s: str) -> Quota:
        """From the text of a limit: what is used cannot be said in a text."""
        return Quota._of(told(storage.Quota.parse, text(s, "s")))

    @property
    def limit(self) -> QuotaLimit:
        return QuotaLimit._of(self._value.limit)

    @limit.setter
    def limit(self, value: QuotaLimit) -> None:
        self._value = replace(self._value, limit=instance(value, QuotaLimit, "limit")._value)

    @property
    def usage(self) -> StorageUsage | None:
        return maybe(StorageUsage)(self._value.usage)

    @usage.setter
    def usage(self, value: StorageUsage) -> None:
        self._value = replace(self._value, usage=instance(value, StorageUsage, "usage")._value)

    def is_unlimited(self) -> bool:
        return self._value.is_unlimited

    def is_over_quota(self) -> bool:
        """Whether more is known to be used than the limit."""
        return self._value.is_over_quota

    def percentage_used(self) -> float | None:
        """None where the usage is not known, or the limit is none or nothing."""
        return self._value.percentage_used

    def __repr__(self) -> str:
        return f'Quota("{self}")'
