"""What FreeIPA says of users and groups, as values. Pure.

    user    cn = the identifier, givenname = user name, sn = project, userclass = openportal      uid = alice.demo
    group   description = "demo.brics | words"                                                    cn = brics.demo

Attributes come as lists of texts, a few as bare values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openportal.agents.account.freeipa.calls import Call
from openportal.errors import GrammarError
from openportal.grammar.identifiers import ProjectIdentifier, UserIdentifier

OURS = "openportal"
UNFINISHED = "openportal.unfinished"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of FreeIPA; `groups` are those that it is a direct member of."""

    name: str
    identifier: str
    home: str = ""
    disabled: bool = False
    groups: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()

    @property
    def user(self) -> UserIdentifier | None:
        """The user of OpenPortal whose account this is, where it says so."""
        try:
            return UserIdentifier.parse(self.identifier)
        except GrammarError:
            return None


@dataclass(frozen=True, slots=True)
class Group:
    """A group of FreeIPA."""

    name: str
    description: str = ""
    members: frozenset[str] = frozenset()

    @property
    def project(self) -> ProjectIdentifier | None:
        """The project whose group this is, where it says so."""
        try:
            return ProjectIdentifier.parse(self.description.partition("|")[0].strip())
        except GrammarError:
            return None


def account_of(entry: Mapping[str, Any]) -> Account:
    """From the entry of a user with all its attributes."""
    return Account(
        name=_first(entry, "uid"),
        identifier=_first(entry, "cn"),
        home=_first(entry, "homedirectory"),
        disabled=_truth(entry.get("nsaccountlock", False)),
        groups=_set(entry, "memberof_group"),
        classes=_set(entry, "userclass"),
    )


def group_of(entry: Mapping[str, Any]) -> Group:
    """From the entry of a group."""
    return Group(_first(entry, "cn"), _first(entry, "description"), _set(entry, "member_user"))


def show_user(name: str) -> Call:
    return Call("user_show", name, {"all": True})


def show_group(name: str) -> Call:
    return Call("group_show", name, {"no_members": True})


def find_users(**having: Any) -> Call:
    """Users by what they have; never only the first so many."""
    return Call("user_find", "", {"all": True, "sizelimit": 0, **having})


def find_groups(text: str, **having: Any) -> Call:
    """Groups with this text in their name or description, and their members."""
    return Call("group_find", text, {"all": True, "sizelimit": 0, **having})


def _first(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name, "")
    return str(value[0] if isinstance(value, list) and value else value or "")


def _set(entry: Mapping[str, Any], name: str) -> frozenset[str]:
    value = entry.get(name, ())
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset({str(value)} if value else ())


def _truth(value: Any) -> bool:
    """nsaccountlock is a bare boolean in some answers and a list of a text in others."""
    return str(value[0] if isinstance(value, list) and value else value).upper() == "TRUE"
