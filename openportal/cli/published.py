"""The client that the package index serves under the name `openportal`, in a virtual environment of its own.

It shares its import name with this project and holds the interpreter's lock while it talks, so it is always run as a
process of its own: `client_python("0.94.0")` is the interpreter to start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from openportal.errors import ConfigError

STAMP = ".installed"
VERSIONS = ("0.94.0", "0.32.2")


def cache_folder() -> Path:
    """`~/.cache/openportal`, or below XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "openportal"


def client_python(version: str) -> Path:
    """The Python of the environment that holds the client; built first if it is not there or was not finished."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    directory = cache / f"client-{version}"
    with (cache / f"client-{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = directory / "bin" / "python"
        if not (directory / STAMP).exists() or not python.exists():  # a newer system may have taken it away
            _build(directory, version)
    return python


def _build(directory: Path, version: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        subprocess.run([*pip, f"openportal=={version}"], check=True)
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"the published client openportal {version} could not be installed in {directory}") from error
    (directory / STAMP).touch()
