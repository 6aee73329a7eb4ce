"""One call of FreeIPA's JSON-RPC, and what may come of it. Pure.

request   {"method": m, "params": [[name…], {options}], "id": 0}
answer    {"result": {"result": entry, "value", "summary", …} | null, "error": {"code", "message", "name"} | null}
in batch  the same result, or {"error": sentence, "error_code": n, "error_name": name}
members   {"completed": n, "failed": {"member": {"user": [[name, why], …], …}}}: no error, even if all failed

`group_add_member` writes the group once for each user; a change of the group itself writes it once for them all, takes
their full names in the directory and asks nobody whether they are there. It compares each member with every other.

code                                                error            kind          again?
4001                                                IpaNotFound      run           no
4002 4024                                           IpaExists        run           no
4009 4010 4202                                      IpaUnchanged     run           no (a plan accepts it)
2100 4303 4307 4308 4309                            IpaForbidden     run           no
3005 to 3009 4205 4207 4208                         IpaInvalid       invalid       no
903 907 1100 to 1104 4200 4201 4203 4204 4211 4214  IpaBusy          unavailable   yes
any other                                           IpaRefusal       run           no
no answer, or one that is not of the API            IpaDown          unavailable   yes
a login that is refused                             IpaLogin         unavailable   yes
a certificate that is not trusted                   IpaUntrusted     unavailable   yes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from openportal.errors import InvalidJob, RunError, Unavailable

NOT_FOUND = 4001
DUPLICATE = 4002
ALREADY_ACTIVE = 4009
ALREADY_INACTIVE = 4010
EMPTY_MODLIST = 4202
API_VERSION = "2.230"  # of FreeIPA 4.6; a server answers whoever asks in words of an older one
MESSAGE_MAX_CHARACTERS = 300
LOOK = "look up"

ADD_MEMBER = "group_add_member"
CHANGE_GROUP = "group_mod"
IS_MEMBER = "This entry is already a member"
IS_NO_MEMBER = "This entry is not a member"


class IpaRefusal(RunError):
    """FreeIPA understood the call and refuses it; the message is its own. `entry` is what the call was about."""

    def __init__(self, message: str, entry: str = "") -> None:
        super().__init__(message)
        self.entry = entry


class IpaNotFound(IpaRefusal):
    """There is no such entry."""


class IpaExists(IpaRefusal):
    """There is such an entry already, or a private group has its name."""


class IpaUnchanged(IpaRefusal):
    """The entry is as the call would make it."""


class IpaForbidden(IpaRefusal):
    """The account of this agent may not do that, or nobody may; the message names the permission."""


class IpaInvalid(InvalidJob):
    """FreeIPA's rules for names and values forbid it."""


class IpaBusy(Unavailable):
    """Something behind the API did not answer it, or two changes met."""


class IpaDown(Unavailable):
    """No answer of the API: refused, cut off, timed out, or an error page. `refused` when no call can have arrived."""

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class IpaLogin(Unavailable):
    """The server refuses this agent's login; the message says why and what to do."""


class IpaUntrusted(Unavailable):
    """The server's certificate does not verify."""


CODES: Mapping[int, type[IpaRefusal | IpaInvalid | IpaBusy]] = {
    NOT_FOUND: IpaNotFound,
    **dict.fromkeys((DUPLICATE, 4024), IpaExists),
    **dict.fromkeys((ALREADY_ACTIVE, ALREADY_INACTIVE, EMPTY_MODLIST), IpaUnchanged),
    **dict.fromkeys((2100, 4303, 4307, 4308, 4309), IpaForbidden),
    **dict.fromkeys((3005, 3006, 3007, 3008, 3009, 4205, 4207, 4208), IpaInvalid),
    **dict.fromkeys((903, 907, 1100, 1101, 1102, 1103, 1104, 4200, 4201, 4203, 4204, 4211, 4214), IpaBusy),
}


@dataclass(frozen=True, slots=True)
class Call:
    """A method on one entry. `action` and `target` are its words in the audit trail."""

    method: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    action: str = LOOK
    accept: frozenset[int] = frozenset()
    members: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """What is changed: the users, and where they are put into or taken out of a group, that too."""
        return f"{', '.join(self.members)} in {self.name}" if self.members else self.name

    @property
    def is_one_write(self) -> bool:
        """Whether it puts all its members into the group at once, or none of them."""
        return self.method == CHANGE_GROUP and bool(self.members)

    def request(self) -> dict[str, Any]:
        """As JSON, without the version."""
        users = {"user": list(self.members)} if self.members and not self.is_one_write else {}
        options = {**({"no_members": True} if self.members else {}), **self.options, **users}
        return {"method": self.method, "params": [[self.name] if self.name else [], options]}

    def __str__(self) -> str:
        """As an administrator would type it; what `--dry-run` prints."""
        options = {**self.options, **({"users": ",".join(self.members)} if self.members else {})}
        words = [f"--{name}={value}" for name, value in options.items()]
        return " ".join(["ipa", self.method.replace("_", "-"), self.name, *words])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says of one call: its result, or a code that is not 0."""

    result: Any = None
    code: int = 0
    message: str = ""


def envelope(calls: Sequence[Call]) -> dict[str, Any]:
    """The body of a request: one call by itself, several as a batch."""
    requests = [call.request() for call in calls]
    if len(calls) == 1:
        names, options = requests[0]["params"]
        return {"method": calls[0].method, "params": [names, {**options, "version": API_VERSION}], "id": 0}
    return {"method": "batch", "params": [requests, {"version": API_VERSION}], "id": 0}


def answers_of(calls: Sequence[Call], body: Mapping[str, Any]) -> list[Answer]:
    """The answer to each call of a request. Raises the error of a batch that was refused as a whole."""
    error = body["error"]
    one = Answer(body["result"]) if not error else Answer(None, int(error["code"]), str(error["message"]))
    if len(calls) == 1:
        return [one]
    return [_in_batch(each) for each in result_of(Call("batch", "", action="carry out"), one)["results"]]


def _in_batch(answer: Mapping[str, Any]) -> Answer:
    if answer.get("error") is None:
        return Answer(answer)
    return Answer(None, int(answer.get("error_code", 0)), str(answer["error"]))


def result_of(call: Call, answer: Answer) -> dict[str, Any]:
    """The result of a call; empty where it accepts the error. Raises the error otherwise."""
    if answer.code == 0 and answer.result is not None:
        return _without_failed(call, answer.result)
    if answer.code in call.accept:
        return {}
    text = answer.message[:MESSAGE_MAX_CHARACTERS]
    sentence = f"FreeIPA refuses to {call.action} {call.target}: {text} (error {answer.code})."
    error = CODES.get(answer.code, IpaRefusal)
    raise error(sentence, call.name) if issubclass(error, IpaRefusal) else error(sentence)


def merged(calls: Sequence[Call]) -> Call:
    """Calls that change members of the same group, as one."""
    members = tuple(dict.fromkeys(member for call in calls for member in call.members))
    return replace(calls[0], members=members)


def telling_members(call: Call) -> Call:
    """The same, answered with all members of the group."""
    return replace(call, options={**call.options, "no_members": False})


def in_one_write(call: Call, names: Mapping[str, str]) -> Call:
    """The same memberships by one write of the group; `names` are the members' in the directory."""
    added = [f"member={names[member]}" for member in call.members]
    return replace(call, method=CHANGE_GROUP, options={"addattr": added}, accept=frozenset({EMPTY_MODLIST}))


def _without_failed(call: Call, result: Any) -> dict[str, Any]:
    """Raise for a member of the call that failed; one that is in, or out, already is no failure."""
    found: dict[str, Any] = result if isinstance(result, dict) else {"result": result}
    failed = found.get("failed")
    users = failed.get("member", {}).get("user", []) if isinstance(failed, dict) else []
    for name, why in users:
        if name in call.members and why not in (IS_MEMBER, IS_NO_MEMBER):
            error = IpaNotFound if why == "no such entry" else IpaRefusal
            text = str(why)[:MESSAGE_MAX_CHARACTERS]
            raise error(f"FreeIPA could not {call.action}: {name} in {call.name}: {text}.", name)
    return found
