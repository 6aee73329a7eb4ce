"""The agents' commands: their words, and what `run` says before there is an agent."""

from __future__ import annotations

import gc
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import structlog
from click.testing import CliRunner, Result

from openportal.cli import agents
from openportal.cli.agents import GC_ALLOCATIONS, agent_group, quiet_collector, run_until_stopped
from openportal.cli.compose import Ending, NoLeaf
from openportal.errors import LedgerCorrupt, SecretError
from openportal.paddington.config import DEFAULTS, load

COMMANDS = {
    agents.portal: "op-portal",
    agents.provider: "op-provider",
    agents.platform: "op-clusters",
    agents.instance: "op-cluster",
    agents.localaccount: "op-localaccount",
    agents.freeipa: "op-freeipa",
    agents.filesystem: "op-filesystem",
    agents.slurm: "op-slurm",
    agents.bridge: "op-bridge",
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard output is for results, and the commands leave the logging of the tests alone."""
    monkeypatch.setattr(agents, "configure", lambda level, stream: None)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def file(folder: Path, agent: str = "Account", sandbox: bool = True) -> Path:
    text = f'agent = "{agent}"\n' + (f'[extras]\nsandbox = "{folder}/sandbox"\n' if sandbox else "")
    text += '[service]\nname = "x"\nurl = "ws://localhost:1"\nip = "127.0.0.1"\nport = 1\n'
    path = folder / "x.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def invoke(service: str, *words: str) -> Result:
    return CliRunner().invoke(agent_group(DEFAULTS[service]), list(words))


@pytest.mark.parametrize(("main", "name"), COMMANDS.items(), ids=list(COMMANDS.values()))
def test_every_agent_has_its_command(main: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [name, "--help"])
    seen: list[click.Group] = []
    monkeypatch.setattr(click.Group, "__call__", lambda group: seen.append(group))
    main()
    [group] = seen
    assert group.name == name
    assert {"run", "init", "client", "server"} <= set(group.commands)


def test_a_file_that_is_not_there_or_another_agents(tmp_path: Path) -> None:
    done = invoke("localaccount", "-c", str(tmp_path / "no.toml"), "run")
    assert (done.exit_code, "make it with `op-localaccount init`" in done.output) == (1, True)
    done = invoke("portal", "-c", str(file(tmp_path)), "run")
    assert (done.exit_code, "is the file of a Account agent" in done.output) == (2, True)


def test_one_shot(tmp_path: Path) -> None:
    path = str(file(tmp_path))
    done = invoke("localaccount", "-c", path, "run", "-o", "get_projects brics", "--repeat", "2")
    assert (done.exit_code, done.stdout) == (0, "[]\n[]\n")
    done = invoke("localaccount", "-c", path, "run", "-o", "dance")
    assert done.exit_code == 1
    assert "dance" in done.stderr and "Traceback" not in done.stderr


def test_what_a_new_start_would_not_mend_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    path = str(file(tmp_path, sandbox=False))
    for words in (["run"], ["run", "-o", "get_projects brics"]):
        done = invoke("freeipa", "-c", path, *words)
        assert (done.exit_code, "gives it a sandbox" in done.stderr) == (2, True)
    path = file(tmp_path, agent="Scheduler", sandbox=False)
    done = invoke("slurm", "-c", str(path), "run")
    assert (done.exit_code, "slurm-default-node is missing" in done.stderr) == (2, True)
    path.write_text(path.read_text().replace("port = 1", "port = 0"))
    assert invoke("slurm", "-c", str(path), "run").exit_code == 2


@pytest.mark.usefixtures("collector")
def test_how_a_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    config = load(file(tmp_path))

    def ending(result: Ending | Exception) -> None:
        async def serve(*given: Any) -> Ending:
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(agents, "serve", serve)

    ending(Ending.RESTART)
    assert run_until_stopped(config, "op-localaccount") == 0
    ending(LedgerCorrupt("position 3 was changed"))
    assert run_until_stopped(config, "op-localaccount") == 1
    assert capsys.readouterr().err == "op-localaccount: position 3 was changed\n"
    for wrong in (NoLeaf("no leaf"), SecretError("another password")):
        ending(wrong)
        with pytest.raises(type(wrong)):
            run_until_stopped(config, "op-localaccount")


@pytest.mark.usefixtures("collector")
def test_the_collector_looks_seldom() -> None:
    quiet_collector()
    assert gc.get_threshold()[0] == GC_ALLOCATIONS
    assert gc.get_freeze_count() > 0


def test_the_commands_are_those_that_are_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    installed = {name: target for name, target in project["scripts"].items() if name.startswith("op-")}
    assert set(COMMANDS.values()) <= set(installed)
    assert {target.partition(":")[2] for target in installed.values()} == {main.__name__ for main in COMMANDS}
