"""Every module has a test file that imports it: one named after it, or the one that is named here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
CLIENT_OBJECTS = (
    "arguments", "awards", "identifiers", "instructions", "jobs", "notifications", "quantities", "reports", "results",
    "storage", "storage_reports", "usage", "usage_totals", "wrapper",
)  # fmt: skip
CLIENT_TRANSPORT = ["aio", "client", "config", "connection", "default", "errors", "exchange", "operations"]
CONFIG = ("changing", "checks", "defaults", "fields", "ip_rules", "reading", "sections")
SETTINGS = ("bridge", "init", "peers", "sealed", "tables", "word")
ELSEWHERE = {
    "agents/account/freeipa/agent.py": "test_freeipa_accounts.py",
    "agents/account/freeipa/plan.py": "test_freeipa_plan.py",
    "agents/account/freeipa/settings.py": "test_freeipa_settings.py",
    "agents/account/local.py": "test_local.py",
    "agents/account/policy.py": "test_plan.py",
    "agents/sandbox/account.py": "test_leaves.py",
    "agents/sandbox/filesystem.py": "test_leaves.py",
    "agents/sandbox/scheduler.py": "test_leaves.py",
    "agents/scheduler/slurm/attempts.py": "test_slurm_attempts.py",
    "agents/scheduler/slurm/records.py": "test_slurm_records.py",
    "agents/scheduler/slurm/cache.py": "test_slurm_cache.py",
    "agents/scheduler/slurm/reading.py": "test_slurm_reading.py",
    "agents/scheduler/slurm/reports.py": "test_slurm_reports.py",
    "agents/scheduler/slurm/zones.py": "test_slurm_zones.py",
    "agents/scheduler/slurm/sacct.py": "test_slurm_sacct.py",
    "agents/scheduler/slurm/together.py": "test_slurm_together.py",
    "agents/scheduler/slurm/token.py": "test_slurm_token.py",
    "agents/scheduler/slurm/rest.py": "test_slurm_rest.py",
    "agents/scheduler/slurm/rest_answers.py": "test_slurm_rest_answers.py",
    "agents/scheduler/slurm/operator_reports.py": "test_slurm_operator_reports.py",
    "agents/scheduler/slurm/gathering.py": "test_slurm_gathering.py",
    "agents/scheduler/slurm/usage.py": "test_slurm_usage.py",
    "agents/scheduler/slurm/accounts.py": "test_slurm_leaf.py",
    "agents/scheduler/slurm/agent.py": "test_slurm_leaf.py",
    "agents/scheduler/slurm/commands.py": "test_slurm_leaf.py",
    "agents/scheduler/slurm/keeper.py": "test_slurm_keeper.py",
    "agents/scheduler/slurm/limits.py": "test_slurm_limits.py",
    "agents/scheduler/slurm/made.py": "test_slurm_made.py",
    "agents/scheduler/slurm/plan.py": "test_slurm_plan.py",
    "agents/scheduler/slurm/reconcile.py": "test_slurm_reconcile.py",
    "agents/scheduler/slurm/settings.py": "test_slurm_settings.py",
    "agents/scheduler/slurm/transport.py": "test_slurm_plan.py",
    "agents/scheduler/slurm/windows.py": "test_slurm_windows.py",
    "bridge/agent.py": "test_bridge_agent.py",
    "bridge/backend.py": "test_bridge_agent.py",
    "bridge/serve.py": "test_http.py",
    "cli/agents.py": "test_cli_agents.py",
    "cli/freeipa.py": "test_freeipa_commands.py",
    "cli/leaves.py": "test_parts.py",
    "cli/metrics_part.py": "test_bridge_part.py",
    "cli/operator_part.py": "test_job_change.py",
    "cli/ledger_keep.py": "test_ledger_keep_command.py",
    "cli/ledger_read.py": "test_openportal_command.py",
    "cli/oneshot.py": "test_cli_oneshot.py",
    "cli/openportal.py": "test_openportal_command.py",
    "cli/published.py": "test_published_env.py",
    "cli/site_migration.py": "test_migration.py",
    "cli/status.py": "test_openportal_command.py",
    **{f"cli/settings/{name}.py": "test_settings.py" for name in SETTINGS},
    **{f"paddington/config/{name}.py": "test_config.py" for name in CONFIG},
    **{f"client/{name}.py": "test_client_transport.py" for name in CLIENT_TRANSPORT},
    **{f"client/{name}.py": "test_client_objects.py" for name in CLIENT_OBJECTS},
    "cli/reconcile.py": "test_slurm_reconcile.py",
    "cli/scheduler.py": "test_scheduler_part.py",
    "cli/slurm_reports.py": "test_slurm_operators.py",
    "cli/rollout.py": "test_rollout_commands.py",
    "errors.py": "test_docs.py",
    "grammar/awards.py": "test_award_details.py",
    "grammar/health.py": "test_health_documents.py",
    "grammar/notifications.py": "test_notification_documents.py",
    "paddington/frames.py": "test_exchange.py",
    "paddington/link.py": "test_exchange.py",
    "paddington/peer.py": "test_exchange.py",
    "templemeads/handlers.py": "test_agent.py",
    "templemeads/role.py": "test_roles.py",
    "templemeads/outbox.py": "test_mutations.py",
    "templemeads/state.py": "test_simulation.py",
    "templemeads/ledger/archive.py": "test_ledger_archive.py",
    "templemeads/worker.py": "test_mutations.py",
    "templemeads/ledger/commit.py": "test_ledger_write.py",
    "templemeads/ledger/format.py": "test_ledger_write.py",
    "templemeads/ledger/keep.py": "test_ledger_backup.py",
    "templemeads/ledger/postgresql.py": "test_ledger_durability.py",
    "templemeads/ledger/reader.py": "test_ledger_verify.py",
    "templemeads/ledger/reading.py": "test_ledger_verify.py",
    "templemeads/ledger/settings.py": "test_ledger_write.py",
    "templemeads/ledger/sqlite.py": "test_ledger_durability.py",
    "templemeads/ledger/store.py": "test_ledger_write.py",
    "templemeads/ledger/subjects.py": "test_ledger_keep.py",
    "templemeads/ledger/tables.py": "test_ledger_keep.py",
}
PROGRAMS = {"cli/demo_client.py": "test_demo.py"}  # run by what the test runs
FACADES = (
    "openportal.cli.settings",
    "openportal.paddington.config",
    "openportal.templemeads.ledger",
)  # whose modules are tested through the package
MODULES = sorted(path for path in (ROOT / "openportal").rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT / "openportal").as_posix())
def test_a_module_has_a_test_file_that_imports_it(path: Path) -> None:
    relative = path.relative_to(ROOT / "openportal").as_posix()
    test = TESTS.get(PROGRAMS.get(relative) or ELSEWHERE.get(relative, f"test_{path.name}"))
    assert test is not None
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    package = module.rpartition(".")[0]
    wanted = {module, package} if package in FACADES else {module}
    assert relative in PROGRAMS or wanted & imported(test)


def imported(test: Path) -> set[str]:
    """Every module that a file imports, and `module.name` of every name that it takes from one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(test.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return found


def test_nothing_is_listed_without_need() -> None:
    found = {path.relative_to(ROOT / "openportal").as_posix() for path in MODULES}
    assert set(ELSEWHERE) | set(PROGRAMS) <= found
