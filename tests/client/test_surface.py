"""Every public name of the published client is here: of the module, of each class, and of its stub."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import openportal
import openportal.client as client
from openportal.cli.published import client_python

PYTHON = client_python("0.94.0")
NAMES = """
import json, inspect, openportal as o
def public(names): return sorted(n for n in names if not n.startswith("_"))
classes = {n: getattr(o, n) for n in public(dir(o)) if isinstance(getattr(o, n), type)}
print(json.dumps({
    "module": public(dir(o)),
    "classes": {n: sorted(set(dir(c)) - set(dir(object))) for n, c in classes.items()},
    "bases": {n: [b.__name__ for b in c.__mro__] for n, c in classes.items() if issubclass(c, OSError)},
    "signatures": {f"{n}.{m}".removeprefix("."): list(inspect.signature(f).parameters)
        for n, holder in [("", o), *classes.items()] for m, f in vars(holder).items()
        if not m.startswith("_") and type(f).__name__ in ("builtin_function_or_method", "method_descriptor")},
}))
"""
THEIRS: dict[str, Any] = json.loads(
    subprocess.run([PYTHON, "-I", "-c", NAMES], capture_output=True, text=True, check=True, timeout=60).stdout
)


def names_of(name: str) -> set[str]:
    """Not `dir`: an enum does not show its methods there."""
    return {each for base in getattr(openportal, name).__mro__ for each in vars(base)}


def test_nothing_of_the_module_is_missing() -> None:
    assert set(THEIRS["module"]) - set(dir(openportal)) == set()
    assert len(THEIRS["module"]) > 60


@pytest.mark.parametrize("name", THEIRS["module"])
def test_every_name_of_the_module_can_be_had(name: str) -> None:
    assert getattr(openportal, name) is not None


@pytest.mark.parametrize("name", THEIRS["classes"])
def test_nothing_of_a_class_is_missing(name: str) -> None:
    missing = set(THEIRS["classes"][name]) - names_of(name)
    assert missing <= {"__weakref__"}


@pytest.mark.parametrize("name", THEIRS["bases"])
def test_exceptions_are_in_the_same_tree(name: str) -> None:
    ours = getattr(openportal, name)
    assert [base.__name__ for base in ours.__mro__] == THEIRS["bases"][name]
    assert ours.__module__ == "openportal"


@pytest.mark.parametrize("name", THEIRS["signatures"])
def test_arguments_have_the_same_names(name: str) -> None:
    ours: Any = openportal
    for part in name.split("."):
        ours = getattr(ours, part)
    code = ours.__code__
    parameters = list(code.co_varnames[: code.co_argcount])
    theirs = THEIRS["signatures"][name]
    assert [each for each in parameters if each in theirs] == theirs


def stub() -> ast.Module:
    folder = Path(PYTHON).parent.parent / "lib"
    text = next(folder.glob("python3*/site-packages/openportal/__init__.pyi")).read_text()
    return ast.parse(text.replace("(cls, class:", "(cls, class_:"))  # as it is published, it is no Python


@pytest.mark.parametrize("kind", [n for n in stub().body if isinstance(n, ast.ClassDef)], ids=lambda n: n.name)
def test_nothing_of_the_stub_is_missing(kind: ast.ClassDef) -> None:
    """It has two classes more than the module: HealthInfo and LogEntry, which are only ever given out."""
    names = {each.name for each in kind.body if isinstance(each, ast.FunctionDef)}
    assert names - names_of(kind.name) <= {"__richcmp__", "x"}


def test_what_is_said_to_be_exported_is() -> None:
    assert all(getattr(client, name) is not None for name in client.__all__)
    assert openportal.__all__ == client.__all__
    with pytest.raises(AttributeError, match="nonsense"):
        _ = openportal.nonsense  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="nonsense"):
        _ = client.nonsense
    assert (Path(openportal.__file__).parent / "py.typed").exists()


def loaded(program: str) -> set[str]:
    """The layers of this package that a program has imported at its end."""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return {name.split(".")[1] for name in found.stdout.split()}


def test_the_client_comes_without_agents_and_they_without_it() -> None:
    show = "; import sys; print(*(n for n in sys.modules if n.startswith('openportal.')))"
    assert loaded("import openportal" + show) == set()
    assert loaded("import openportal; openportal.health" + show) <= {"client", "grammar", "errors", "signing"}
    assert "client" not in loaded("import openportal.cli.agents, openportal.cli.compose" + show)


def test_asyncio_and_http_come_when_they_are_needed_and_pydantic_never() -> None:
    names = ("asyncio", "http.client", "ssl", "email.utils", "pydantic")
    heavy = f"; import sys; print(*('openportal.' + n for n in sys.modules if n in {names}))"
    assert loaded("import openportal; openportal.Job, openportal.run, openportal.Health" + heavy) == set()
    assert loaded("import openportal; openportal.AsyncClient" + heavy) == {"asyncio", "ssl"}  # which asyncio imports
