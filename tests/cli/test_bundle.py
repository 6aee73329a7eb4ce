"""A release as one file: every wheel is in it, and its hash is the only one that is let in."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from openportal.cli.bundle import make_bundle, requirement_lines
from openportal.errors import ConfigError

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "openportal-agents"
version = "7.8"
"""
BACKEND = """
import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "{name}-7.8-py3-none-any.whl"
    info = "{name}-7.8.dist-info/"
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        wheel.writestr("portable.py", "WORD = 'here'")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 7.8\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""


def source(folder: Path, name: str) -> Path:
    """A source tree that builds without anything else."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT.replace("openportal-agents", name.replace("_", "-")))
    (folder / "backend.py").write_text(BACKEND.replace("{name}", name))
    return folder


def test_a_bundle_installs_without_an_index_and_only_what_it_was_made_of(tmp_path: Path) -> None:
    bundle = make_bundle(str(source(tmp_path / "src", "openportal_agents")), [], tmp_path / "dist")
    assert bundle == tmp_path / "dist" / "openportal-agents-7.8-bundle.tar"
    with tarfile.open(bundle) as tar:
        assert tar.getnames() == ["requirements.txt", "wheels/openportal_agents-7.8-py3-none-any.whl"]
        tar.extractall(tmp_path / "there", filter="data")
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", "wheels", "--require-hashes"]
    words = [*pip, "--target", str(tmp_path / "site"), "--requirement", "requirements.txt"]
    subprocess.run(words, cwd=tmp_path / "there", check=True, capture_output=True)
    assert (tmp_path / "site" / "portable.py").exists()
    wheel = next((tmp_path / "there/wheels").glob("*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    other = subprocess.run(words, cwd=tmp_path / "there", check=False, capture_output=True, text=True)
    assert other.returncode != 0
    assert "DO NOT MATCH THE HASHES" in other.stderr


def test_a_requirement_names_the_version_and_the_hash_of_each_wheel(tmp_path: Path) -> None:
    wheels = [tmp_path / f"{name}.whl" for name in ("a-1-py3-none-any", "b_c-1.2-cp311-x", "b_c-1.2-cp313-x")]
    for wheel in wheels:
        wheel.write_bytes(wheel.name.encode())
    one, two, three = (f"--hash=sha256:{hashlib.sha256(wheel.name.encode()).hexdigest()}" for wheel in wheels)
    assert list(requirement_lines(wheels)) == [f"a==1 {one}", f"b_c==1.2 {two} {three}"]


def test_wheels_for_another_python_are_in_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def pip(*words: str) -> None:
        asked.append(words)
        if words[0] == "wheel":
            folder = Path(words[words.index("--wheel-dir") + 1])
            folder.mkdir()
            (folder / "openportal_agents-7.8-py3-none-any.whl").touch()

    monkeypatch.setattr("openportal.cli.bundle._pip", pip)
    make_bundle(".", [], tmp_path, ["3.13"])
    versions = [words[words.index("--python-version") + 1] for words in asked if "--python-version" in words]
    assert ([words[0] for words in asked], versions) == (["wheel", "download", "download"], ["3.13"])


def test_another_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the package openportal-agents"):
        make_bundle(str(source(tmp_path / "src", "something_else")), [], tmp_path)


def test_what_pip_cannot_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pip could not"):
        make_bundle(str(tmp_path / "nothing"), [], tmp_path)
