"""How a verb is declared.

    @declare
    class AddUser(Instruction, verb="add_user", result="UserMapping"):
        "Add a user to a machine."

        user: UserIdentifier

The class is the grammar. The verb and its aliases are class keywords; the fields are the arguments, in order, and the
type of each field parses and prints itself; a field with a default may be left out. How many words are taken, how they
print, whose portal it is and what the documentation says all follow from that. A declared class is a dataclass, frozen
and slotted, whose methods are those of `Instruction`: to have them written for each of the verbs, as `dataclass` does
it, takes longer than all else that is imported with them.

On the wire the words of an instruction are separated by single spaces. The last argument takes all words that are left
(`extra="joined"`), or only its own while further words mean nothing (`extra="ignored"`): both occur on the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from inspect import get_annotations
from typing import Any, ClassVar, Final, Literal, Never, Self, TypeVar, cast, dataclass_transform, get_args

from openportal.errors import GrammarError

PARSE: Final = "parse"  # key of a field's metadata: the function that parses it, where its type does not


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a verb; `form` is how it is shown to people, `kind` the type of its values.

    `default` is MISSING where there is none.
    """

    name: str
    kind: type
    parse: Callable[[str], object]
    form: str
    default: object
    nullable: bool

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def __str__(self) -> str:
        return f"<{self.form}>" if self.required else f"[{self.form}]"


@dataclass(frozen=True, slots=True)
class Description:
    """One row of the table of verbs in the documentation."""

    verb: str
    aliases: tuple[str, ...]
    arguments: tuple[str, ...]
    result_type: str
    changes: bool
    summary: str


class Instruction:
    """What a job asks for; the base of all verbs.

    `result_type` is the name of the result's type on the wire. `changes` says whether carrying it out changes the
    world. Constructors raise TypeError for an argument of the wrong type: that is a bug of ours, not a wrong text.
    """

    __slots__ = ()

    verb: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]
    result_type: ClassVar[str]
    changes: ClassVar[bool]
    arguments: ClassVar[tuple[Argument, ...]]

    _splits: ClassVar[int]
    _required: ClassVar[int]
    _bearer: ClassVar[str | None]

    def __init_subclass__(
        cls,
        *,
        verb: str | None = None,
        aliases: tuple[str, ...] = (),
        result: str | None = None,
        extra: Literal["joined", "ignored"] = "joined",
    ) -> None:
        if verb is None:  # the slotted copy that `dataclass` makes of a declared class comes without its keywords
            return
        cls.verb = verb
        cls.aliases = aliases
        cls._splits = -1 if extra == "joined" else 0
        if result is not None:
            cls.result_type = result
        if "changes" not in vars(cls):
            cls.changes = not verb.startswith(("is_", "get_"))

    def __init__(self, *given: object, **named: object) -> None:
        if named or len(given) != len(self.arguments):
            given = self._in_order(given, named)
        for argument, value in zip(self.arguments, given, strict=True):
            if not isinstance(value, argument.kind) and not (value is None and argument.nullable):
                raise TypeError(f"{argument.name} of {self.verb} must be a {argument.kind.__name__}, not {value!r}")
            object.__setattr__(self, argument.name, value)

    @classmethod
    def parse_arguments(cls, text: str) -> Self:
        """From what follows the verb and one space. Raises GrammarError, which names the verb and its arguments."""
        words = text.split(" ", cls._splits)
        if len(words) < cls._required:
            raise cls._misused("an argument is missing")
        try:
            values = [argument.parse(word) for argument, word in zip(cls.arguments, words, strict=False)]
        except GrammarError as error:
            raise cls._misused(str(error)) from error
        return cls(*values)

    @classmethod
    def subject_in(cls, text: str) -> str | None:
        """The subject of the instruction that `parse_arguments` would make of a text; nothing else in it is read."""
        if cls._bearer is None:
            return None
        words = text.split(" ", cls._splits)
        for argument, word in zip(cls.arguments, words, strict=False):
            if argument.name == cls._bearer:
                return cast("str | None", cast(Any, argument.parse(word)).subject)
        return None

    @classmethod
    def usage(cls) -> str:
        """The verb and its arguments, as shown to people: `<…>` must be given, `[…]` may be."""
        return " ".join([cls.verb, *map(str, cls.arguments)])

    @classmethod
    def describe(cls) -> Description:
        """The row of this verb in the documentation."""
        summary = (cls.__doc__ or "").partition("\n")[0]
        return Description(cls.verb, cls.aliases, tuple(map(str, cls.arguments)), cls.result_type, cls.changes, summary)

    @property
    def owning_portal(self) -> str | None:
        """The portal whose user, project or award this is about; None if it is about none."""
        return None if self._bearer is None else getattr(self, self._bearer).owning_portal

    @property
    def subject(self) -> str | None:
        """The user or project this is about, such as `alice.demo.brics` or `demo.brics`; None if it is about none."""
        return None if self._bearer is None else getattr(self, self._bearer).subject

    def __str__(self) -> str:
        return " ".join([self.verb, *(str(value) for value in self._values() if value is not None)])

    def __repr__(self) -> str:
        shown = (f"{argument.name}={getattr(self, argument.name)!r}" for argument in self.arguments)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.verb, *self._values()))

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), self._values()

    def __setattr__(self, name: str, value: object) -> Never:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> Never:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _values(self) -> tuple[object, ...]:
        return tuple([getattr(self, argument.name) for argument in self.arguments])

    @classmethod
    def _in_order(cls, given: tuple[object, ...], named: dict[str, object]) -> tuple[object, ...]:
        """A value for each argument, in order. Raises TypeError if they are too many, or too few, or misnamed."""
        left = cls.arguments[len(given) :]
        values = (*given, *(named.get(argument.name, argument.default) for argument in left))
        unknown = named.keys() - {argument.name for argument in left}
        if unknown or len(values) != len(cls.arguments) or any(value is MISSING for value in values):
            raise TypeError(f"{cls.__name__} takes {cls.usage()}, not {given!r} and {named!r}")
        return values

    @classmethod
    def _misused(cls, reason: str) -> GrammarError:
        return GrammarError(f"{cls.verb}: {reason} (expected: {cls.usage()})")


Declared = TypeVar("Declared", bound=Instruction)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def declare(cls: type[Declared]) -> type[Declared]:
    """Make a declared class a slotted dataclass and work out once what parsing and printing need."""
    if "verb" not in vars(cls):
        raise TypeError(f"{cls.__name__} must be declared with verb=…")
    made = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    hints = get_annotations(made, eval_str=True)
    made.arguments = tuple(_argument(item, hints[item.name]) for item in fields(cast(Any, made)))
    made._splits += len(made.arguments)
    made._required = sum(argument.required for argument in made.arguments)
    bearers = (argument.name for argument in made.arguments if hasattr(argument.kind, "owning_portal"))
    made._bearer = next(bearers, None)
    return made


def _argument(item: Field[Any], hint: Any) -> Argument:
    kinds = get_args(hint) or (hint,)
    kind = kinds[0]
    return Argument(
        name=item.name,
        kind=kind,
        parse=item.metadata.get(PARSE) or kind.parse,
        form=getattr(kind, "form", item.name),
        default=item.default,
        nullable=type(None) in kinds,
    )
