"""Root file systems with a Slurm in them, made from Debian's own packages and kept for later runs.

    24.11   the next Debian release (trixie)
    22.05   Debian 12 (bookworm)

Nothing is installed on this machine: `mmdebstrap` is unpacked beside the roots, and apt fills each of them. A root is
made once, in about half a minute, under `~/.cache/openportal/roots/`; tests only ever mount an overlay on it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from openportal.cli.published import cache_folder

SUITES = {"24.11": "trixie", "22.05": "bookworm"}
PACKAGES = (
    "slurmctld", "slurmd", "slurmdbd", "slurm-client", "slurmrestd", "slurm-wlm-mysql-plugin", "slurm-wlm-jwt-plugin",
    "munge", "mariadb-server-core", "mariadb-client-core", "procps",
)  # fmt: skip
UNWANTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
STAMP = "installed"
BUILD_SECONDS = 900
APT_LOCK_SECONDS = 300


def slurm_root(version: str) -> Path:
    """The root with this version of Slurm; built first if it is not there or was not finished."""
    roots = cache_folder() / "roots"
    roots.mkdir(parents=True, exist_ok=True)
    root = roots / f"slurm-{version}"
    stamp = roots / f"slurm-{version}.{STAMP}"
    with (roots / f"slurm-{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != _recipe(version):
            _build(root, version, _mmdebstrap(roots))
            stamp.write_text(_recipe(version))
    return root


def _recipe(version: str) -> str:
    """What a root is made from: another recipe means another root."""
    return f"{SUITES[version]} {','.join(PACKAGES)}"


def _mmdebstrap(roots: Path) -> Path:
    """The folder of the program that makes roots, unpacked from its package and not installed."""
    folder = roots / "mmdebstrap"
    programs = folder / "usr" / "bin"
    with (roots / "mmdebstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (programs / "mmdebstrap").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _run("apt-get", "update", "-q", "-o", f"DPkg::Lock::Timeout={APT_LOCK_SECONDS}", cwd=folder)
            _run("apt-get", "download", "-q", "mmdebstrap", cwd=folder)
            [package] = folder.glob("mmdebstrap_*.deb")
            _run("dpkg", "-x", package.name, ".", cwd=folder)
    return programs


def _build(root: Path, version: str, programs: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED]
    options = ("--variant=apt", "--mode=root", f"--include={','.join(PACKAGES)}", *excluded)
    _run("mmdebstrap", *options, SUITES[version], str(root), cwd=root.parent, path=str(programs))


def _run(*command: str, cwd: Path, path: str = "") -> None:
    """Run one step of a build. Raises RuntimeError with what it said."""
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=BUILD_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
