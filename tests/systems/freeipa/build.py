"""What the tests with a real FreeIPA server boot from; made once and kept outside the clone.

    python -m tests.systems.freeipa.build

    base        a minimal Debian 12
    tree.tgz    the server, compiled from Debian's source package (no release has a binary one)
    server      base, what the server needs, and the server
    client      base and Debian's own FreeIPA client
    pki         a certificate authority and a certificate for each server
    installed   what the installers wrote: `ipa-server-install` on srv, `ipa-replica-install` on srv2 (a second master),
                `ipa-client-install` on cli

Each is made when it is not there; a change of a script makes new ones of it and of all that follow. Root only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.systems.freeipa.machine import ADDRESSES, HERE, Host, Network, full_name

TOOLS = ("debootstrap", "systemd-nspawn", "zstd", "openssl")
PACKAGES = ("debootstrap", "systemd-container", "zstd", "openssl", "iproute2", "acl")
REALM = "IPA.TEST"
ADMIN_PASSWORD = "AdminSecret123"
PIN = "Secret123"
SERVERS = ("srv", "srv2")
LOGIN_SECONDS = 120.0


def cache() -> Path:
    """Where it is kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return home / "openportal" / "roots" / "freeipa"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One at a time on this machine."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build() -> Path:
    """Make whatever is missing; returns the cache."""
    with locked("build"):
        install_tools()
        base = made("base", ["base-root.sh", "inside.sh"], lambda out: script("base-root.sh", out))
        tree = made("tree.tgz", ["tree.sh", "inside.sh"], lambda out: compile_tree(base, out))
        server = made("server", ["server-root.sh"], lambda out: grow(base, out, "server-root.sh", tree), base, tree)
        client = made("client", ["client-root.sh"], lambda out: grow(base, out, "client-root.sh"), base)
        pki = made("pki", ["certificates.sh"], lambda out: script("certificates.sh", out, *map(full_name, ADDRESSES)))
        made("installed", ["boot.sh", "build.py"], lambda out: install(server, client, pki, out), server, client, pki)
    return cache()


def made(name: str, sources: Sequence[str], make: object, *after: Path) -> Path:
    """The thing of that name, made by `make(new path)` unless one stands that was made from the same sources."""
    path, stamp = cache() / name, cache() / f"{name}.made-from"
    key = hashlib.sha256()
    for source in sources:
        key.update((HERE / source).read_bytes())
    for earlier in after:
        key.update((cache() / f"{earlier.name}.made-from").read_bytes())
    if path.exists() and stamp.exists() and stamp.read_text() == key.hexdigest():
        return path
    begin = time.monotonic()
    fresh = cache() / f"{name}.new"
    remove(fresh)
    make(fresh)  # type: ignore[operator]
    remove(path)
    fresh.rename(path)
    stamp.write_text(key.hexdigest())
    print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    return path


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def script(name: str, *arguments: str | Path) -> None:
    """Run one of the scripts; what it says goes to a log beside what it makes."""
    log = cache() / f"{name}.log"
    with log.open("wb") as out:
        done = subprocess.run([HERE / name, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed, see {log}:\n{log.read_text(errors='replace')[-2000:]}")


def install_tools() -> None:
    if not all(shutil.which(tool) for tool in TOOLS):
        wait = ("-o", "DPkg::Lock::Timeout=600")
        subprocess.run(["apt-get", *wait, "update", "-q"], check=True)
        subprocess.run(["apt-get", *wait, "install", "-qy", "--no-install-recommends", *PACKAGES], check=True)


def compile_tree(base: Path, out: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache()) as work:
        script("tree.sh", base, work, out)


def grow(base: Path, out: Path, name: str, *arguments: Path) -> None:
    """A root that begins as the base."""
    subprocess.run(["cp", "-a", base, out], check=True)
    script(name, out, *arguments)


def install(server: Path, client: Path, pki: Path, out: Path) -> None:
    """Run the installers on fresh hosts and keep what they wrote."""
    out.mkdir()
    with locked("network"), tempfile.TemporaryDirectory(dir=cache()) as folder, Network() as network:
        hosts = {name: Host(name, server, Path(folder) / name) for name in SERVERS}
        hosts["cli"] = Host("cli", client, Path(folder) / "cli")
        try:
            for host in hosts.values():
                give(host, pki)
                host.boot(network)
            for host in hosts.values():
                host.wait_settled()
            install_server(hosts["srv"])
            install_replica(hosts["srv2"])
            join_client(hosts["cli"])
        finally:
            for host in hosts.values():
                host.halt()
        for host in hosts.values():
            host.pack(out / f"{host.name}.tar.zst")


def give(host: Host, pki: Path) -> None:
    """Put the certificates where the installers will find them."""
    target = host.upper / "root/pki"
    target.mkdir(parents=True)
    for name in ("ca.crt", f"{full_name(host.name)}.p12"):
        shutil.copy(pki / name, target / name)


def certificates(host: Host) -> list[str]:
    bundle = f"/root/pki/{full_name(host.name)}.p12"
    found = [f"--{kind}-cert-file={bundle}" for kind in ("dirsrv", "http")]
    return [*found, f"--dirsrv-pin={PIN}", f"--http-pin={PIN}", "--no-pkinit"]


def install_server(host: Host) -> None:
    host.run(
        "ipa-server-install", "-U", "-r", REALM, "-n", "ipa.test", "--hostname", full_name(host.name),
        "--ip-address", ADDRESSES[host.name], "-p", "DMSecret123", "-a", ADMIN_PASSWORD, *certificates(host),
        "--ca-cert-file", "/root/pki/ca.crt", "--no-ntp", "--no-host-dns",
    )  # fmt: skip


def install_replica(host: Host) -> None:
    host.run(
        "ipa-replica-install", "-U", "--server", full_name("srv"), "--domain", "ipa.test", "--realm", REALM,
        "--hostname", full_name(host.name), "--ip-address", ADDRESSES[host.name], "-P", "admin", "-w", ADMIN_PASSWORD,
        *certificates(host), "--no-ntp", "--no-host-dns", "--skip-conncheck",
    )  # fmt: skip


def join_client(host: Host) -> None:
    host.run(
        "ipa-client-install", "-U", "--server", full_name("srv"), "--domain", "ipa.test", "--realm", REALM,
        "--hostname", full_name(host.name), "-p", "admin", "-w", ADMIN_PASSWORD, "--no-ntp", "--force-join",
        "--ca-cert-file", "/root/pki/ca.crt", "--no-ssh", "--no-sshd", "--no-dns-sshfp",
    )  # fmt: skip


if __name__ == "__main__":
    print(build())
