"""Every module has a test file: one named after it, or the one that is named here."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
ELSEWHERE = {
    "agents/account/local.py": "test_local.py",
    "agents/sandbox/account.py": "test_leaves.py",
    "agents/sandbox/filesystem.py": "test_leaves.py",
    "agents/sandbox/scheduler.py": "test_leaves.py",
    "bridge/agent.py": "test_client.py",
    "bridge/backend.py": "test_http.py",
    "bridge/serve.py": "test_http.py",
    "cli/agents.py": "test_oneshot.py",
    "cli/bridge_part.py": "test_awards.py",
    "cli/compose.py": "test_restart.py",
    "cli/demo_client.py": "test_demo.py",
    "cli/leaves.py": "test_parts.py",
    "cli/metrics_part.py": "test_parts.py",
    "cli/openportal.py": "test_openportal_command.py",
    "cli/published.py": "test_published_env.py",
    "errors.py": "test_docs.py",
    "paddington/frames.py": "test_exchange.py",
    "paddington/link.py": "test_exchange.py",
    "paddington/peer.py": "test_exchange.py",
    "templemeads/handlers.py": "test_agent.py",
    "templemeads/role.py": "test_roles.py",
    "templemeads/state.py": "test_core.py",
    "templemeads/ledger/commit.py": "test_ledger_write.py",
    "templemeads/ledger/format.py": "test_ledger_write.py",
    "templemeads/ledger/postgresql.py": "test_ledger_durability.py",
    "templemeads/ledger/reader.py": "test_ledger_verify.py",
    "templemeads/ledger/reading.py": "test_ledger_verify.py",
    "templemeads/ledger/settings.py": "test_ledger_write.py",
    "templemeads/ledger/sqlite.py": "test_ledger_durability.py",
    "templemeads/ledger/store.py": "test_ledger_write.py",
    "templemeads/ledger/subjects.py": "test_ledger_keep.py",
    "templemeads/ledger/tables.py": "test_ledger_keep.py",
}
MODULES = sorted(path for path in (ROOT / "openportal").rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT / "openportal").as_posix())
def test_a_module_has_a_test_file(path: Path) -> None:
    relative = path.relative_to(ROOT / "openportal").as_posix()
    assert ELSEWHERE.get(relative, f"test_{path.name}") in TESTS


def test_nothing_is_listed_without_need() -> None:
    found = {path.relative_to(ROOT / "openportal").as_posix() for path in MODULES}
    assert set(ELSEWHERE) <= found
