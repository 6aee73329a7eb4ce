"""How a frozen value of the grammar is shown to a portal's software.

The published client's objects can be changed in place; the values of the grammar cannot. So each class of this package
holds one value, and a change puts another in its place:

    Wrapper     one value; two of them are equal if they are the same object, as in the published client
    Same        equal where the values are; can be changed, so it cannot be a key
    Named       an identifier: equal also to the text of it, and a key of dicts and sets

What a class merely shows is one line: `num_jobs: Read[int] = Read()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

V = TypeVar("V")
T = TypeVar("T")
W = TypeVar("W", bound="Wrapper[Any]")


class Wrapper(Generic[V]):
    """One value of the grammar. A class that can be made by its name has a `__new__` of its own."""

    __slots__ = ("_value",)
    _value: V

    def __new__(cls) -> Self:
        raise TypeError(f"cannot create 'openportal.{cls.__name__}' instances")

    @classmethod
    def _of(cls, value: V) -> Self:
        made = object.__new__(cls)
        made._value = value
        return made

    def __str__(self) -> str:
        return str(self._value)

    def __repr__(self) -> str:
        return str(self)

    def __copy__(self) -> Self:
        return type(self)._of(self._value)

    def __deepcopy__(self, _memo: object) -> Self:
        return type(self)._of(self._value)

    def __reduce__(self) -> tuple[Callable[[V], Self], tuple[V]]:
        return type(self)._of, (self._value,)


class Same(Wrapper[V]):
    """Equal where the values are."""

    __slots__ = ()
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, type(self)) else NotImplemented


class Named(Wrapper[V]):
    """Equal also to its text, and found under it in a dict or a set."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return str(self) == other
        return self._value == other._value if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


class Read(Generic[T]):
    """An attribute of the value, under its own name or another, shown as what `show` makes of it."""

    def __init__(self, show: Callable[[Any], T] | None = None, *, name: str | None = None, doc: str = "") -> None:
        self._show, self._name = show, name
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    @overload
    def __get__(self, wrapper: None, owner: type) -> Self: ...
    @overload
    def __get__(self, wrapper: Wrapper[Any], owner: type) -> T: ...
    def __get__(self, wrapper: Wrapper[Any] | None, owner: type) -> T | Self:
        if wrapper is None:
            return self
        value = getattr(wrapper._value, self._name or "")
        return value if self._show is None else self._show(value)

    def __set__(self, wrapper: Wrapper[Any], value: object) -> None:
        raise AttributeError(f"attribute '{self._name}' of '{type(wrapper).__name__}' objects is not writable")


def each(kind: type[W]) -> Callable[[Any], list[W]]:
    """Shows many values as a list of one kind."""
    return lambda values: [kind._of(value) for value in values]


def in_order(kind: type[W]) -> Callable[[Any], list[W]]:
    """Shows many values as a list of one kind, in the order of their texts."""
    return lambda values: each(kind)(sorted(values, key=str))


def maybe(kind: type[W]) -> Callable[[Any], W | None]:
    """Shows a value as one kind, where there is one."""
    return lambda value: None if value is None else kind._of(value)
