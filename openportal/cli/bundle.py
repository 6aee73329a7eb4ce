"""A release for hosts that reach no package index: one tar file with every wheel, and the hash of each.

    requirements.txt     name==version --hash=sha256:…   one line for each package, with the hash of each wheel of it
    wheels/              the package itself and all that it needs, for this machine's kind of Python and processor, and
                         for further versions of Python if hosts have others

A host installs it with `pip install --no-index --find-links wheels --require-hashes --requirement requirements.txt`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from openportal.errors import ConfigError

PACKAGE = "openportal_agents"


def make_bundle(source: str, extras: Sequence[str], folder: Path, pythons: Sequence[str] = ()) -> Path:
    """Bundle `source` (a source tree, a wheel or a requirement) into `folder`; returns the file. Raises ConfigError.

    `pythons` are versions such as "3.13" that hosts have beside the one that this runs on.
    """
    with tempfile.TemporaryDirectory(prefix="openportal-bundle-") as temporary:
        wheels = Path(temporary, "wheels")
        _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), source)
        own = next(wheels.glob(f"{PACKAGE}-*.whl"), None)
        if own is None:
            raise ConfigError(f"{source} is not the package {PACKAGE.replace('_', '-')}.")
        wanted = f"{own}[{','.join(extras)}]" if extras else str(own)
        for which in ([], *(["--python-version", python] for python in pythons)):
            _pip("download", "--only-binary=:all:", *which, "--dest", str(wheels), wanted)
        requirements = Path(temporary, "requirements.txt")
        requirements.write_text("".join(f"{line}\n" for line in requirement_lines(sorted(wheels.iterdir()))))
        version = own.name.split("-")[1]
        bundle = folder / f"{PACKAGE.replace('_', '-')}-{version}-bundle.tar"
        folder.mkdir(parents=True, exist_ok=True)
        _pack(bundle, [requirements, *sorted(wheels.iterdir())], Path(temporary))
    return bundle


def requirement_lines(wheels: Iterable[Path]) -> Iterator[str]:
    """The lines that allow these wheels and no others: name, version, and the hashes of its wheels."""
    hashes: dict[str, list[str]] = {}
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        hashes.setdefault(f"{name}=={version}", []).append(f"--hash=sha256:{digest}")
    return (" ".join((pinned, *found)) for pinned, found in hashes.items())


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
