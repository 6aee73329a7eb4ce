"""Invites between our agents and released ones: either side may have made it, and its keys stay in use.

    python tests/interop/invites.py --upstream FOLDER

FOLDER holds the released op-portal and op-provider. Each introduces the other with its own commands; then the link has
to come up, and again after a restart of both. The exit code is 0 only if it did.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from openportal.cli.facility import HOST, free_ports
from openportal.paddington.config import load

LINK_SECONDS = 60.0
OURS = Path(sys.executable).parent
LINKED = re.compile(r"\S+@default: linked \(")


def introduce(folder: Path, portal: Path, provider: Path) -> None:
    """The files of a portal and a provider that it invited."""
    ports = free_ports(2)
    for program, name, port in ((portal, "brics", ports[0]), (provider, "aip1", ports[1])):
        address = ["--service", name, "--url", f"ws://{HOST}:{port}", "--ip", HOST, "--port", str(port)]
        subprocess.run([program, "-c", f"{name}.toml", "init", *address], check=True, cwd=folder, capture_output=True)
    add = [portal, "-c", "brics.toml", "client", "--add", "aip1", "--ip", HOST]
    subprocess.run(add, check=True, cwd=folder, capture_output=True)
    (invite,) = folder.glob("invite_*.toml")
    take = [provider, "-c", "aip1.toml", "server", "--add", invite]
    subprocess.run(take, check=True, cwd=folder, capture_output=True)


def meet(folder: Path, programs: dict[str, Path]) -> bool:
    """Whether the agent of ours tells of a link, the other one started first or last as it comes."""
    (ours,) = (name for name, program in programs.items() if program.parent == OURS)
    processes = []
    for name, program in programs.items():
        with (folder / f"{name}.log").open("wb") as log:
            command = [program, "-c", folder / f"{name}.toml", "run"]
            processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
    deadline, found = time.monotonic() + LINK_SECONDS, None
    while found is None and time.monotonic() < deadline:
        time.sleep(0.2)
        found = LINKED.search((folder / f"{ours}.log").read_text(errors="replace"))
    for process in processes:
        process.kill()
        process.wait()
    return found is not None


def trial(portal: Path, provider: Path) -> bool:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        introduce(folder, portal, provider)
        before = load(folder / "aip1.toml").service.servers[0]
        good = all(meet(folder, {"brics": portal, "aip1": provider}) for _ in range(2))
        (client,), (server,) = load(folder / "brics.toml").service.clients, load(folder / "aip1.toml").service.servers
        same = client.inner_key == server.inner_key == before.inner_key
        return good and same and client.invite_expires is None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--upstream", type=Path, required=True)
    theirs = parser.parse_args().upstream.resolve()
    failed = 0
    for who, portal, provider in (
        ("our portal invites their provider", OURS / "op-portal", theirs / "op-provider"),
        ("their portal invites our provider", theirs / "op-portal", OURS / "op-provider"),
    ):
        good = trial(portal, provider)
        failed += not good
        print(f"{who:<36} {'ok' if good else 'NOT AS EXPECTED'}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
