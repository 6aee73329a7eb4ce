"""The documentation says what the code does: every word, option, setting, metric, function, event and error.

Tables are compared with what the code yields, row by row and from the left: the columns that the code knows come first,
what people wrote about them follows. A failure shows how the rows must begin. Links lead somewhere, and every command
that is quoted in a code block is accepted by its own parser.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import shlex
import tomllib
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import msgspec
import pytest
from prometheus_client import Metric

from openportal import errors
from openportal.agents.account.local import LocalAccounts
from openportal.agents.filesystem.directories import Directories
from openportal.agents.filesystem.volumes import ProjectVolume, UserVolume, Volumes
from openportal.agents.instance import SAGAS
from openportal.agents.portal import OF_OFFERINGS, Changing, PortalRole
from openportal.agents.roles import RelayRole
from openportal.agents.sandbox.account import SandboxAccounts
from openportal.agents.sandbox.filesystem import SandboxFilesystem
from openportal.agents.sandbox.scheduler import SandboxScheduler
from openportal.agents.sandbox.store import SandboxStore
from openportal.bridge.agent import BridgeRole
from openportal.bridge.auth import Refusal
from openportal.bridge.http import STATUS, Api
from openportal.cli.agents import agent_group
from openportal.cli.leaves import leaf_system
from openportal.errors import ConfigError, OpenPortalError
from openportal.grammar.health import DiagnosticsReport, HealthInfo
from openportal.grammar.instructions import VERBS, Submit, describe
from openportal.grammar.notifications import EVENTS as NOTIFICATIONS
from openportal.paddington import config
from openportal.paddington.config import DEFAULTS, AgentDefaults
from openportal.paddington.ephemeral import KeyPair
from openportal.paddington.invite import Invite
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.events import EVENTS
from openportal.templemeads.ledger import Settings
from openportal.templemeads.ledger.format import Event
from openportal.templemeads.metrics import Collector

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
OURS = (DOCS / "run-a-site.md", DOCS / "operate.md", *sorted((DOCS / "reference").glob("*.md")))
LINE_MAX_CHARACTERS = 125
REFERENCE = ("verbs", "commands", "configuration", "metrics", "http-api", "events", "errors")

Row = tuple[str, ...]


# --- reading pages ----------------------------------------------------------------------------------------------------


def reference(name: str) -> Path:
    return DOCS / "reference" / f"{name}.md"


def code_blocks(page: Path) -> list[str]:
    """The lines of fenced and of indented code; a line that ends with a backslash is joined with the next."""
    found: list[str] = []
    fenced = False
    for line in page.read_text().splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            if found and found[-1].endswith("\\"):
                found[-1] = found[-1][:-1] + line.strip()
            else:
                found.append(line.strip())
    return found


def prose(page: Path) -> str:
    """The text without fenced code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def section(page: Path, heading: str) -> list[str]:
    """The lines below a heading, down to the next one of any level."""
    lines = prose(page).splitlines()
    starts = [i for i, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(heading)}", line)]
    assert len(starts) == 1, f"{page} must have one heading {heading!r}, and has {len(starts)}"
    rest = lines[starts[0] + 1 :]
    end = next((i for i, line in enumerate(rest) if re.match(r"#+ ", line)), len(rest))
    return rest[:end]


def rows(page: Path, heading: str) -> list[Row]:
    """The cells of the table below a heading, without its head."""
    lines = [line for line in section(page, heading) if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip().strip("|").split("|")) for line in lines[2:]]


def items(page: Path, heading: str) -> list[str]:
    """The items of the list below a heading, each as one line."""
    text = "\n".join(section(page, heading))
    return [" ".join(item.split()) for item in re.findall(r"^- (.*?)(?=\n- |\n\n|\Z)", text, re.MULTILINE | re.DOTALL)]


def check(name: str, heading: str, expected: list[Row]) -> None:
    """The rows below a heading begin with these cells, in this order."""
    found = [row[: len(expected[0])] for row in rows(reference(name), heading)]
    wanted = "\n".join(f"| {' | '.join(row)} |" for row in expected)
    assert found == expected, f"{name}.md, {heading!r}: the rows must begin with\n{wanted}"


def check_names(name: str, heading: str, expected: Collection[str]) -> None:
    """The first cells below a heading are these words, in any order."""
    found = [row[0] for row in rows(reference(name), heading)]
    assert sorted(found) == sorted(f"`{word}`" for word in expected), f"{name}.md, {heading!r}"


def code(words: Collection[str], between: str = ", ") -> str:
    return between.join(f"`{word}`" for word in words)


def yes(value: bool) -> str:
    return "yes" if value else "no"


def test_every_page_is_there() -> None:
    assert [name for name in REFERENCE if not reference(name).exists()] == []


@pytest.mark.parametrize("page", OURS, ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    long = [number for number, line in enumerate(page.read_text().splitlines(), 1) if len(line) > LINE_MAX_CHARACTERS]
    assert long == []


LEAVES = [defaults for defaults in DEFAULTS.values() if defaults.agent in ("Account", "Filesystem", "Scheduler")]


def leaf_config(defaults: AgentDefaults, extras: Mapping[str, str] = MappingProxyType({})) -> config.AgentConfig:
    """The smallest file of a leaf agent."""
    service = f'[service]\nname = "x"\nurl = "ws://x:1"\nip = "::1"\nport = {defaults.port}\n'
    agent = config.parse(f'agent = "{defaults.agent}"\n{service}', Path("/x.toml"))
    return dataclasses.replace(agent, extras=extras)


ONE_VOLUME: Mapping[str, Any] = MappingProxyType({"user_volumes": {"home": {"roots": ["/home"]}}})


NEEDED = {"Scheduler": {"slurm-default-node": '{"cpus": 64}'}}
"""The extras without which an agent has no leaf, by its type."""


def own_handlers(defaults: AgentDefaults, extras: Mapping[str, str] = MappingProxyType({})) -> Collection[type]:
    """What a leaf answers without a sandbox; nothing if there is no such leaf, or it needs more extras than these."""
    agent = leaf_config(defaults, extras)
    if defaults.agent == "Filesystem":
        agent = dataclasses.replace(agent, tables=ONE_VOLUME)  # it refuses to manage nothing
    try:
        return leaf_system(agent, defaults.command).handlers
    except ConfigError:
        return ()


# --- verbs ------------------------------------------------------------------------------------------------------------


def answered_by(folder: Path) -> Mapping[str, Collection[type]]:
    """Kind of agent -> the instructions it answers; a leaf counts with its sandbox."""
    store = SandboxStore(folder)
    return {
        "bridge": BridgeRole(list).handlers(),
        "portal": {Submit, *typing.get_args(Changing), *PortalRole(list, lambda offerings: None).handlers()},
        "offering": OF_OFFERINGS,
        "instance": SAGAS,
        "account": {**LocalAccounts({}).handlers(), **SandboxAccounts(store).handlers()},
        "filesystem": {**Directories(Volumes.of({}), {}).handlers(), **SandboxFilesystem(store).handlers()},
        "scheduler": SandboxScheduler(store).handlers(),
    }


def test_verbs() -> None:
    table = [(code([v.verb]), code(v.arguments, " "), code([v.result_type]), yes(v.changes)) for v in describe()]
    check("verbs", "Arguments and results", table)


def test_what_verbs_do_and_who_answers(tmp_path: Path) -> None:
    answers = answered_by(tmp_path)
    who = {v.verb: ", ".join(kind for kind, verbs in answers.items() if VERBS[v.verb] in verbs) for v in describe()}
    check("verbs", "Meaning", [(code([v.verb]), who[v.verb] or "–", v.summary) for v in describe()])


def test_aliases() -> None:
    check("verbs", "Aliases", [(code([alias]), code([v.verb])) for v in describe() for alias in v.aliases])


def test_verbs_that_only_a_sandbox_answers(tmp_path: Path) -> None:
    answers = answered_by(tmp_path)
    leaves = {kind for name in ("account", "filesystem", "scheduler") for kind in answers[name]}
    real = {kind for defaults in LEAVES for kind in own_handlers(defaults, NEEDED.get(defaults.agent, {}))}
    only = [v.verb for v in describe() if VERBS[v.verb] in leaves - real]
    check("verbs", "Only in a sandbox so far", [(code([verb]),) for verb in only])


# --- commands ---------------------------------------------------------------------------------------------------------


def scripts() -> Mapping[str, str]:
    """Installed command -> `module:function`."""
    found: Mapping[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    return found


def parser(name: str) -> click.Command:
    """An installed command, as its parser."""
    agents = {scripts()[defaults.command]: defaults for defaults in DEFAULTS.values()}
    target = scripts()[name]
    return agent_group(agents[target]) if target in agents else loaded(target)


def loaded(target: str) -> click.Command:
    """The parser of a command that is no agent's: what its entry point is, or the group beside it."""
    module, _, name = target.partition(":")
    found = importlib.import_module(module)
    inside = (value for value in vars(found).values() if isinstance(value, click.Group))
    command = getattr(found, name)
    command = command if isinstance(command, click.Command) else next(inside)
    assert isinstance(command, click.Command)
    return command


def below(command: click.Command) -> dict[str, click.Command]:
    """Word -> command, of a group; also of one that loads its commands when they are needed."""
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    found = {word: command.get_command(context, word) for word in command.list_commands(context)}
    return {word: each for word, each in found.items() if each is not None and not each.hidden}


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, by what is typed."""
    yield path, command
    for word, each in below(command).items():
        yield from commands(each, f"{path} {word}")


def spellings(command: click.Command) -> list[str]:
    """The first cell of each parameter's row."""
    return [
        f"`{parameter.name.upper()}`" if isinstance(parameter, click.Argument) else code(parameter.opts)
        for parameter in command.params
        if parameter.name is not None
    ]


def test_every_command_has_its_name_in_the_documentation() -> None:
    check_names("commands", "Commands", list(scripts()))
    check(
        "commands",
        "Defaults",
        [(code([d.command]), code([d.agent]), code([d.service]), str(d.port)) for d in DEFAULTS.values()],
    )


FURTHER = {
    "op-bridge": {"bridge": "bridge"},
    "op-freeipa": {"reconcile": "reconcile of op-freeipa", "adopt": "adopt"},
    "op-slurm": {
        "reconcile": "reconcile of op-slurm",
        "get_requeue_report": "get_requeue_report",
        "get_reservation_report": "get_reservation_report",
    },
}
"""Agents with words of their own, and the section about each."""

FURTHER_INIT = {"op-bridge": "init of a bridge", "op-slurm": "init of a scheduler"}
"""Agents whose `init` has options of its own, and the section about those."""


@pytest.mark.parametrize("word", ["init", "client", "server", "extra", "secret", "encryption", "run"])
def test_options_that_every_agent_has(word: str) -> None:
    expected = spellings(below(parser("op-portal"))[word])
    check("commands", word, [(cell,) for cell in expected])
    for defaults in DEFAULTS.values():
        found = spellings(below(parser(defaults.command))[word])
        assert found == expected or (word == "init" and defaults.command in FURTHER_INIT)


def test_words_that_every_agent_has() -> None:
    check("commands", "Options before the word", [(cell,) for cell in spellings(parser("op-portal"))])
    for defaults in DEFAULTS.values():
        further = set(below(parser(defaults.command))) - set(below(parser("op-portal")))
        assert further == set(FURTHER.get(defaults.command, {}))


@pytest.mark.parametrize("command", FURTHER)
def test_what_some_agents_have_beyond_that(command: str) -> None:
    words, known = below(parser(command)), spellings(below(parser("op-portal"))["init"])
    for word, heading in FURTHER[command].items():
        check("commands", heading, [(cell,) for cell in spellings(words[word])])
    further = [(cell,) for cell in spellings(words["init"]) if cell not in known]
    if command in FURTHER_INIT:
        check("commands", FURTHER_INIT[command], further)
    else:
        assert further == []


def test_commands_of_the_operator() -> None:
    for path, command in commands(parser("openportal"), "openportal"):
        cells = [(cell,) for cell in spellings(command)]
        section(reference("commands"), path)
        if cells:
            check("commands", path, cells)


# --- configuration ----------------------------------------------------------------------------------------------------

TABLES: Mapping[str, type] = {
    "Top level": config.AgentConfig,
    "[service]": config.ServiceConfig,
    "[[service.servers]]": config.ServerPeer,
    "[[service.clients]]": config.ClientPeer,
    "[bridge]": config.BridgeConfig,
    "[[bridge.keys]]": config.BridgeKey,
    "[ledger]": config.LedgerSection,
    "[metrics]": config.MetricsSection,
    "Invites": Invite,
}
NOT_IN_THE_FILE: Mapping[type, set[str]] = {config.AgentConfig: {"path", "tables"}}
SPELLED: Mapping[tuple[type, str], str] = {
    (config.ServiceConfig, "healthcheck_port"): "heathcheck_port",
    (config.BridgeKey, "key"): "data",
}


def settings_of(table: type) -> dict[str, dataclasses.Field[Any]]:
    """Name in the file -> field."""
    left_out = NOT_IN_THE_FILE.get(table, set())
    fields = dataclasses.fields(table)
    return {SPELLED.get((table, field.name), field.name): field for field in fields if field.name not in left_out}


def sections_of(table: type) -> set[type]:
    """The dataclasses that a table is made of, itself included."""
    found, waiting = set(), [table]
    while waiting:
        hint = waiting.pop()
        waiting.extend(typing.get_args(hint))
        if isinstance(hint, type) and dataclasses.is_dataclass(hint) and hint not in found:
            found.add(hint)
            waiting.extend(typing.get_type_hints(hint).values())
    return found


def test_every_table_of_the_file_is_documented() -> None:
    known = {*TABLES.values(), config.Encryption, config.IpRules, KeyPair}
    assert sections_of(config.AgentConfig) <= known


@pytest.mark.parametrize("heading", TABLES)
def test_settings(heading: str) -> None:
    fields = settings_of(TABLES[heading])
    if heading == "Top level":
        check_names("configuration", heading, [*fields, *Volumes.model_fields])
    elif heading == "[bridge]":
        check_names("configuration", heading, [*fields, "key"])
    else:
        check_names("configuration", heading, fields)
    for cells in rows(reference("configuration"), heading):
        field = fields.get(cells[0].strip("`"))
        if field is not None and isinstance(field.default, str | int):
            default = str(field.default)
            assert cells[1] == f"`{default.lower() if isinstance(field.default, bool) else default}`"


def test_encryption_and_volumes() -> None:
    schemes = typing.get_args(typing.get_type_hints(config.Encryption)["scheme"])
    check_names("configuration", "[service.encryption]", schemes)
    check_names("configuration", "[user_volumes.NAME]", UserVolume.model_fields)
    check_names("configuration", "[project_volumes.NAME]", ProjectVolume.model_fields)


class Asked(Mapping[str, str]):
    """Extras that are all unset, and know what they were asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def asked_by_leaves() -> set[str]:
    """The extras that leaf agents look at when they are made; the first one that is needed ends the looking."""
    asked = Asked()
    for defaults in LEAVES:
        own_handlers(defaults, asked)
    return asked.names


def named_in_the_code() -> set[str]:
    """Literal names in `extras.get(…)`, `extras[…]` and `secret_of(config, …)`."""
    found: set[str] = set()
    for path in (ROOT / "openportal").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call | ast.Subscript):
                found.update(value.value for value in asked_at(node) if isinstance(value, ast.Constant))
    return {name for name in found if isinstance(name, str)}


def asked_at(node: ast.Call | ast.Subscript) -> list[ast.expr]:
    """The expression that names the extra, if one is looked up here."""
    match node:
        case ast.Subscript(value=ast.Name(id="extras") | ast.Attribute(attr="extras")):
            return [node.slice]
        case ast.Call(func=ast.Attribute(attr="get", value=ast.Name(id="extras") | ast.Attribute(attr="extras"))):
            return node.args[:1]
        case ast.Call(func=ast.Name(id="secret_of")):
            return node.args[1:2]
    return []


def test_every_extra_that_an_agent_reads() -> None:
    check_names("configuration", "[extras]", asked_by_leaves() | named_in_the_code())


# --- metrics ----------------------------------------------------------------------------------------------------------


async def measured(folder: Path) -> list[Metric]:
    """What is exposed by an agent of which something of every kind can be told."""
    network, peers = MemoryNetwork(), [Peer("aip1", "default")]
    agent = Agent(
        "clusters", RelayRole("Platform"), {}, Settings(path=folder), peers,
        lambda agent: network.exchange("clusters", peers, agent),
    )  # fmt: skip
    control = AgentControl(agent)
    agent.control = control
    await agent.start()
    agent.core.board("aip1@default")
    control.clocks.answered("aip1@default", control.own_health(), agent.clock(), agent.clock())
    agent.links.stats.rejected["FrameError"] = agent.links.stats.refused["HandshakeError"] = 1
    agent.links.stats.alarms["aip1@default", "takeover"] = agent.effects["create account", "done"] = 1
    found = list(Collector(agent, control).collect())
    await agent.stop()
    return found


async def test_metrics(tmp_path: Path) -> None:
    families = await measured(tmp_path)
    table = []
    for family in families:
        labels = [name for name in family.samples[0].labels if name != "le"]
        name = f"{family.name}_total" if family.type == "counter" else family.name
        table.append((code([name]), family.type, code(labels), family.documentation))
    check("metrics", "Names", table)


# --- the HTTP API -----------------------------------------------------------------------------------------------------


def test_functions_of_the_bridge() -> None:
    api = Api(typing.cast(Any, None), typing.cast(Any, None))
    table = [("`GET`", "`/`"), *((f"`{method}`", f"`/{name}`") for name, (method, _) in api.functions().items())]
    check("http-api", "Functions", table)


def test_notifications() -> None:
    check("http-api", "Notifications", [(code([word]), code([of.form])) for word, of in NOTIFICATIONS.items()])


@pytest.mark.parametrize(("heading", "report"), [("Health", HealthInfo), ("Diagnostics", DiagnosticsReport)])
def test_fields_of_reports(heading: str, report: type[msgspec.Struct]) -> None:
    text = "\n".join(section(reference("http-api"), heading))
    assert [name for name in report.__struct_fields__ if f"`{name}`" not in text] == []


# --- events -----------------------------------------------------------------------------------------------------------


def fields_of(event: type[Event]) -> str:
    """The fields in order; `*` is sealed, `?` may be missing."""
    found = []
    for field in msgspec.structs.fields(event):
        mark = "*" if field.name in event.PRIVATE else "" if field.required else "?"
        found.append(f"`{field.name}`{mark}")
    return ", ".join(found)


def test_events() -> None:
    check("events", "Events", [(code([event.TOPIC]), str(event.LEVEL)) for event in EVENTS])
    assert items(reference("events"), "Fields of each event") == [f"`{e.TOPIC}`: {fields_of(e)}" for e in EVENTS]
    check_names("events", "Meaning of the fields", {field.name for e in EVENTS for field in msgspec.structs.fields(e)})


# --- errors -----------------------------------------------------------------------------------------------------------


def error_classes() -> list[type[OpenPortalError]]:
    """Every error, parents first; modules that define some of their own are loaded for it."""
    for path in sorted((ROOT / "openportal").rglob("*.py")):
        bases = re.findall(r"^class \w+\((\w+)", path.read_text(), re.MULTILINE)
        if any(isinstance(base := vars(errors).get(name), type) and issubclass(base, Exception) for name in bases):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found: list[type[OpenPortalError]] = []
    waiting: list[type[OpenPortalError]] = [OpenPortalError]
    while waiting:
        error = waiting.pop(0)
        if error.__module__.startswith("openportal."):
            found.append(error)
        waiting[:0] = sorted(error.__subclasses__(), key=lambda other: other.__module__ != errors.__name__)
    return found


def http_status(error: type[OpenPortalError]) -> str:
    if issubclass(error, Refusal):
        return "its own"
    return str(next((status for kind, status in STATUS if issubclass(error, kind)), 500))


def test_errors() -> None:
    table = [
        (code([e.__name__]), code([e.__mro__[1].__name__]), code([e.kind]), yes(e.retry), http_status(e))
        for e in error_classes()
    ]
    check("errors", "Errors", table)


# --- links and commands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page))
    relative = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in relative if target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    quoted = {word for line in code_blocks(page) for word in re.findall(r"(?:^|[;&] *)make ([a-z][\w-]*)", line)}
    assert quoted - targets == set()


BEFORE_A_COMMAND = re.compile(r"\w+=.*|sudo|env|exec|nohup|time|\$")


def simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of a shell line, each as its words, without redirections."""
    lexer = shlex.shlex(re.sub(r"(?<=\s)\d(?=[<>])", "", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for token in lexer:
        if skip:
            skip = False
        elif set(token) <= set("<>"):
            skip = True
        elif set(token) <= set("|&;()"):
            yield words
            words = []
        else:
            words.append(token)
    yield words


def quoted_commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Command and arguments of ours in the code blocks of a page."""
    ours = "|".join(scripts())
    for line in code_blocks(page):
        if re.search(rf"(?:^|[\s/])(?:{ours})\s", line):
            for words in simple_commands(line):
                while words and BEFORE_A_COMMAND.fullmatch(words[0]):
                    words.pop(0)
                if words and Path(words[0]).name in scripts():
                    yield Path(words[0]).name, words[1:]


def refusal(command: click.Command, name: str, arguments: list[str], parent: click.Context | None = None) -> str | None:
    """What the parser says against these arguments; nothing is carried out."""
    try:
        context = command.make_context(name, list(arguments), parent)
        if isinstance(command, click.Group):
            word, each, rest = command.resolve_command(
                context, [*getattr(context, "_protected_args", ()), *context.args]
            )
            assert word is not None and each is not None
            return refusal(each, word, rest, context)
    except click.exceptions.Exit:
        return None
    except click.UsageError as error:
        return f"{name} {' '.join(arguments)}: {error.format_message()}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_quoted_commands_are_accepted(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = [refusal(parser(name), name, arguments) for name, arguments in quoted_commands(page) if arguments]
    assert [text for text in refused if text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_words_of_commands_in_the_text_exist(page: Path) -> None:
    quoted = re.findall(rf"`({'|'.join(scripts())}) ([a-z][\w-]*)", prose(page))
    assert [f"{name} {word}" for name, word in quoted if word not in below(parser(name))] == []
