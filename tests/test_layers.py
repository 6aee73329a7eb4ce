"""Layers point one way, pure modules do no I/O, and agents never import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "openportal"

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "signing": set(),
    "grammar": {"errors"},
    "paddington": {"errors"},
    "templemeads": {"errors", "grammar", "paddington"},
    "agents": {"errors", "grammar", "paddington", "templemeads"},
    "bridge": {"errors", "grammar", "paddington", "signing", "templemeads"},
    "client": {"errors", "grammar", "signing"},
    "cli": {"errors", "grammar", "paddington", "signing", "templemeads", "agents", "bridge", "client"},
}
IMPURE = {
    "asyncio", "os", "random", "secrets", "socket", "sqlite3", "subprocess", "threading", "time",
    "eventsourcing", "httpx", "psycopg", "starlette", "uvicorn", "uvloop", "websockets",
}  # fmt: skip
PURE = (
    "grammar/",
    "signing.py",
    "paddington/handshake.py",
    "paddington/session.py",
    "templemeads/job.py",
    "templemeads/events.py",
    "templemeads/board.py",
    "templemeads/breaker.py",
    "templemeads/clocks.py",
    "templemeads/core.py",
    "templemeads/stuck.py",
    "templemeads/erasure.py",
    "templemeads/outbox.py",
    "templemeads/worker.py",
    "templemeads/lanes.py",
    "templemeads/results.py",
    "templemeads/role.py",
    "templemeads/saga.py",
    "templemeads/state.py",
    "cli/standing.py",
    "cli/trace.py",
    "cli/wanted.py",
    "templemeads/turns.py",
    "templemeads/witness.py",
)


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            yield node.module or ""


def layer_of(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module_keeps_to_its_layer(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    layer = relative.split("/")[0].removesuffix(".py")
    for name in imports(path):
        if name.startswith("openportal.") and layer != "__init__":
            target = layer_of(name)
            assert target == layer or target in MAY_IMPORT[layer], f"{relative} imports {name}"
        if relative.startswith(PURE):
            assert name.split(".")[0] not in IMPURE, f"{relative} is pure and imports {name}"


def test_pure_modules_exist() -> None:
    """A renamed module must not slip out of the purity rule."""
    missing = [pure for pure in PURE if not (ROOT / pure).exists()]
    assert missing == []


def test_agents_never_import_each_other() -> None:
    kinds = {"portal", "provider", "platform", "instance", "account", "filesystem", "scheduler"}
    for path in sorted((ROOT / "agents").rglob("*.py")):
        mine = path.relative_to(ROOT / "agents").parts[0].removesuffix(".py")
        for name in imports(path):
            if name.startswith("openportal.agents.") and mine in kinds:
                other = name.split(".")[2]
                assert other == mine or other not in kinds, f"{path.name} imports {name}"
