"""What a FreeIPA server is made from on a test host: the disk with what it needs, and the tree that the role is given.

No release of Debian has a package of the server, so `tests/systems/freeipa` compiles one. What is in the tree beside it
stands in for what is not at hand: the client of a certificate authority (which is imported even where there is none), a
`pki-server` that says so, and a wait of a minute for replicas that do not exist, cut short.

    python -m tests.facility.hosts.ipa FOLDER     prints what the role is given; the certificates are made in FOLDER
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from openportal.cli.published import cache_folder
from tests.facility.hosts.root import Root, made_once
from tests.systems.freeipa.build import PIN, compile_tree, install_tools, locked, made, script
from tests.systems.freeipa.machine import HERE

PYTHON = "usr/lib/python3/dist-packages"
DOGTAG = "dogtag-pki==11.2.1"
DOMAIN = "ipa.test"
SERVER = f"ipa.{DOMAIN}"


def packages() -> tuple[str, ...]:
    """What the server needs of Debian, as the script names it that makes the other test bed."""
    found = re.search(r"^packages='(.*?)'", (HERE / "server-root.sh").read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return tuple(found[1].split())


WITH_IPA = Root("bookworm", packages())


def server_tree() -> Path:
    """The tree that the role `freeipa_server` unpacks, made once."""
    with locked("build"):
        install_tools()
        base = made("base", ["base-root.sh", "inside.sh"], lambda out: script("base-root.sh", out))
        tree = made("tree.tgz", ["tree.sh", "inside.sh"], lambda out: compile_tree(base, out))
    return made_once(cache_folder() / "freeipa-tree", lambda folder: complete(tree, folder)) / "tree.tgz"


def complete(tree: Path, folder: Path) -> None:
    """Pack the tree again with what stands in for the rest."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        subprocess.run(["tar", "xzf", tree, "-C", root], check=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        subprocess.run([*pip, "--target", root / PYTHON, DOGTAG], check=True)
        authority = root / "usr/sbin/pki-server"
        authority.write_text("#!/bin/sh\nexit 1\n")
        authority.chmod(0o755)
        waiting = root / PYTHON / "ipaserver/install/plugins/update_dna_shared_config.py"
        waiting.write_text(re.sub(r"max_wait = 30 .*", "max_wait = 1", waiting.read_text()))
        subprocess.run(["tar", "czf", folder / "tree.tgz", "-C", root, "."], check=True)


def given(folder: Path) -> dict[str, object]:
    """The variables of the role that are of this machine; the certificates are made if they are not there."""
    script("certificates.sh", folder, SERVER)
    files = {"ca": "ca.crt", "dirsrv": f"{SERVER}.p12", "http": f"{SERVER}.p12"}
    certificates = {"pin": PIN, **{name: str(folder / file) for name, file in files.items()}}
    return {"freeipa_server_tree": str(server_tree()), "freeipa_server_certificates": certificates}


if __name__ == "__main__":
    print(json.dumps(given(Path(sys.argv[1]))))
