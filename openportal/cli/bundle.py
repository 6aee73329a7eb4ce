"""A release for hosts that reach no package index: one tar file with every wheel, and the hash of each.

    requirements.txt     name==version --hash=sha256:…   one line for each wheel
    wheels/              the package itself and all that it needs, for this machine's kind of Python and processor

A host installs it with `pip install --no-index --find-links wheels --require-hashes --requirement requirements.txt`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from openportal.errors import ConfigError

PACKAGE = "openportal_agents"


def make_bundle(source: str, extras: Sequence[str], folder: Path) -> Path:
    """Bundle `source` (a source tree, a wheel or a requirement) into `folder`; returns the file. Raises ConfigError."""
    with tempfile.TemporaryDirectory(prefix="openportal-bundle-") as temporary:
        wheels = Path(temporary, "wheels")
        _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), source)
        own = next(wheels.glob(f"{PACKAGE}-*.whl"), None)
        if own is None:
            raise ConfigError(f"{source} is not the package {PACKAGE.replace('_', '-')}.")
        wanted = f"{own}[{','.join(extras)}]" if extras else str(own)
        _pip("download", "--only-binary=:all:", "--dest", str(wheels), wanted)
        requirements = Path(temporary, "requirements.txt")
        requirements.write_text("".join(f"{requirement(wheel)}\n" for wheel in sorted(wheels.iterdir())))
        version = own.name.split("-")[1]
        bundle = folder / f"{PACKAGE.replace('_', '-')}-{version}-bundle.tar"
        folder.mkdir(parents=True, exist_ok=True)
        _pack(bundle, [requirements, *sorted(wheels.iterdir())], Path(temporary))
    return bundle


def requirement(wheel: Path) -> str:
    """The line that allows this wheel and no other: its name, version and hash."""
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def _pack(bundle: Path, files: Sequence[Path], folder: Path) -> None:
    """A tar file that depends on nothing but its content."""
    with tarfile.open(bundle, "w") as tar:
        for file in files:
            entry = tarfile.TarInfo(str(file.relative_to(folder)))
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                tar.addfile(entry, content)


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    if subprocess.run(command, check=False).returncode != 0:
        raise ConfigError(f"pip could not do its part of the bundle: {' '.join(words[:1])} {words[-1]}.")
