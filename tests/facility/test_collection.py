"""The clone is a collection: it is built, installed without a network, and its playbooks run by their full names."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.facility.controller import ROOT

BIN = Path(sys.executable).parent
PLAYBOOKS = (
    "site", "check", "upgrade", "rotate", "backup", "restore", "migrate", "remove", "freeipa", "slurm", "topology",
)  # fmt: skip
LEFT_OUT = ("openportal/", "tests/", ".venv/", ".collections/", "bench/", "examples/", "extensions/")


def run(*words: str | Path, folder: Path, **environment: str) -> str:
    """What a command prints, in a folder that is not the clone."""
    done = subprocess.run(
        [BIN / words[0], *words[1:]],
        cwd=folder, env={**os.environ, **environment, "ANSIBLE_HOME": str(folder / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the collection installed below it, and nothing else."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run("ansible-galaxy", "collection", "build", ROOT, "--output-path", folder, folder=folder)
    (built,) = folder.glob("openportal-facility-*.tar.gz")
    run("ansible-galaxy", "collection", "install", built, "--offline", "-p", folder / "collections", folder=folder)
    return folder


def test_what_is_in_it(installed: Path) -> None:
    with tarfile.open(next(installed.glob("*.tar.gz"))) as tar:
        names = tar.getnames()
    assert [name for name in names if name.startswith(LEFT_OUT)] == []
    assert {"playbooks", *(f"ansible/{name}.yml" for name in PLAYBOOKS)} <= set(names)
    assert {"roles/openportal/tasks/main.yml", "plugins/modules/site.py"} <= set(names)
    assert [name for name in names if name.startswith("docs/")] == ["docs/alerts.yml"]


def test_playbooks_run_by_their_full_names(installed: Path) -> None:
    paths = {"ANSIBLE_COLLECTIONS_PATH": str(installed / "collections")}
    names = [f"openportal.facility.{name}" for name in PLAYBOOKS]
    words = ("ansible-playbook", "-i", ROOT / "inventories/local")
    checked = run(*words, "--syntax-check", *names, folder=installed, **paths)
    assert [f"/playbooks/{name}.yml" in checked for name in PLAYBOOKS] == [True] * len(PLAYBOOKS)
    assert "clusters     platform    here" in run(*words, "openportal.facility.topology", folder=installed, **paths)


def test_roles_and_modules_explain_themselves(installed: Path) -> None:
    paths = {"ANSIBLE_COLLECTIONS_PATH": str(installed / "collections")}
    roles = [f"openportal.facility.{path.name}" for path in (ROOT / "roles").iterdir()]
    modules = [f"openportal.facility.{path.stem}" for path in (ROOT / "plugins/modules").glob("*.py")]
    of_roles = run("ansible-doc", "-t", "role", *roles, folder=installed, **paths)
    assert [role for role in roles if role not in of_roles.lower()] == []
    of_modules = run("ansible-doc", *modules, folder=installed, **paths)
    assert of_modules.count("EXAMPLES:") == len(modules)


def test_the_version_is_that_of_the_package() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    assert f'version = "{galaxy["version"]}"' in (ROOT / "pyproject.toml").read_text()
