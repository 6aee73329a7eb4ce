"""No secret of a run is anywhere but where it belongs: a whole facility at work, killed, refused and misconfigured.

Secret                                          the only place for it
keys of links and of the bridge                 the agents' files and the clients' files
the password of sealed secrets, what is sealed  the environment of the agents; nowhere in clear
the password of the database                    the file of an agent that uses it
keys of subjects                                the agent's own ledger, and a copy of that ledger

Each is looked for as it is, in hexadecimal and in Base64 (whatever stands before it) in everything that the agents
wrote or show: logs, ledgers, backups, the database, sandbox, metrics, health, diagnostics, command lines, environments.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import tomlkit

from openportal.cli.facility import CHAIN, HOST, Facility, free_ports, new_key
from openportal.paddington.config import load
from openportal.paddington.secretstore import seal_secret
from tests.postgres import binaries, cluster
from tests.processes.load import Load
from tests.processes.waiting import ended, result_of, until

PASSWORD = "kookaburra-sealing-password-7731"
SEALED = "kookaburra-sealed-token-9924"
DATABASE_PASSWORD = "kookaburra-database-password-5518"
VARIABLE = "OPENPORTAL_CANARY_PASSWORD"
IN_DATABASE = "shared"
USERS = 8
PATIENCE_SECONDS = 90.0

pytestmark = [pytest.mark.processes, pytest.mark.systems, pytest.mark.smoke]


# ---- looking --------------------------------------------------------------------------------------------------------


def spellings(secret: bytes) -> set[bytes]:
    """Raw, hexadecimal in both cases, and the part of Base64 that does not depend on what stands before or after."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode(), quote(secret, safe="").encode()}
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret)
        inner = text[4 if before else 0 : -4]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


@dataclass
class Canary:
    """Secrets by name, and where each of them is found."""

    secrets: dict[str, set[bytes]] = field(default_factory=dict)

    def add(self, name: str, secret: bytes | str) -> None:
        value = secret.encode() if isinstance(secret, str) else secret
        assert len(value) >= 16, "a shorter one could be there by chance"
        self.secrets[name] = spellings(value)

    def found_in(self, places: Mapping[str, bytes]) -> list[tuple[str, str]]:
        return [
            (secret, place)
            for place, data in places.items()
            for secret, texts in self.secrets.items()
            if any(text in data for text in texts)
        ]


def rows_of(path: Path) -> dict[str, bytes]:
    """Table -> every value of a SQLite database, as bytes; large values may lie in pieces in the file itself."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: b"\n".join(
                value if isinstance(value, bytes) else str(value).encode()
                for row in database.execute(f'SELECT * FROM "{table}"')
                for value in row
            )
            for table in tables
        }


def keys_within(value: Any, path: str) -> Iterator[tuple[str, bytes]]:
    """Every `data` of a table of keys in an agent's file."""
    if isinstance(value, dict):
        if isinstance(value.get("data"), str):
            yield path, bytes.fromhex(value["data"])
        for name, inner in value.items():
            yield from keys_within(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from keys_within(inner, f"{path}[{number}]")


# ---- the run --------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A facility that has worked, and what it showed."""

    facility: Facility
    url: str
    metrics: Mapping[str, int]
    shown: dict[str, bytes] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """Everything below the folder but the files that are made to hold keys."""
        folder = self.facility.folder
        keep = {self.facility.client_file, *(self.facility.config(m.name) for m in self.facility.members)}
        found = [path for path in folder.rglob("*") if path.is_file() and path not in keep and path.suffix != ".broken"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    def ledgers(self) -> dict[str, Path]:
        return {path.parent.stem: path for path in self.facility.folder.glob("*.ledger/*.sqlite")}

    def dump(self) -> bytes:
        return subprocess.run([binaries() / "pg_dump", "--inserts", self.url], check=True, capture_output=True).stdout

    def processes(self) -> dict[str, bytes]:
        """What other users of the machine can read of each process."""
        found = {}
        for name, process in self.facility.processes.items():
            proc = Path(f"/proc/{process.pid}")
            found[f"{name}: cmdline"] = (proc / "cmdline").read_bytes()
            if (proc / "environ").stat().st_mode & 0o044:
                found[f"{name}: environ"] = (proc / "environ").read_bytes()
        return found


def lay_out(facility: Facility, url: str, metrics: Mapping[str, int]) -> None:
    password = url.replace("ledger@", f"ledger:{DATABASE_PASSWORD}@")
    tables: dict[str, dict[str, Any]] = {name: {"metrics": {"port": port}} for name, port in metrics.items()}
    tables[IN_DATABASE]["ledger"] = {"url": password}
    sealed = seal_secret(SEALED, PASSWORD)
    tables["acct"]["extras"] = {"token": sealed}
    tables["acct"]["encryption"] = {"Environment": {"key": VARIABLE}}
    facility.lay_out(tables)


async def work(run: Run) -> None:
    """Jobs that succeed and fail, requests that are refused, a neighbour with wrong keys, and a kill."""
    client = Load(run.facility.client_file)
    result_of(await ended(client, f"{CHAIN} add_project demo.brics"))
    for number in range(USERS):
        result_of(await ended(client, f"{CHAIN} add_user u{number}.demo.brics"))
    await ended(client, f"{CHAIN} remove_user nobody.demo.brics")
    await ended(client, "brics.nowhere get_users demo.brics")
    async with httpx.AsyncClient() as stranger:
        wrong = {"authorization": f"OpenPortal {new_key()}", "date": "yesterday"}
        await stranger.post(f"http://{HOST}:{run.facility.http_port}/run", headers=wrong, content="{}")
    run.facility.kill(["acct"])
    replace_keys(run.facility.config("acct"))
    run.facility.start(["acct"])
    until(lambda: "refused" in run.facility.log("shared").read_text(), "the wrong keys to be refused")
    run.shown["health"] = (await client.call("health")).content
    run.shown["diagnostics"] = (await client.call("diagnostics", {"destination": CHAIN})).content
    await client.close()


def replace_keys(path: Path) -> None:
    document = tomlkit.parse(path.read_text())
    document["service"]["servers"][0]["inner_key"]["data"] = new_key()  # type: ignore[index]
    path.write_text(tomlkit.dumps(document))


def misconfigured(run: Run) -> None:
    """What agents say of files that are wrong: a key cut short, a broken line, a database that is not there."""
    folder = run.facility.folder
    text = run.facility.config("brics").read_text()
    (key, *_) = [value.hex() for _, value in keys_within(tomlkit.parse(text).unwrap(), "")]
    database = run.facility.config(IN_DATABASE).read_text().replace(quote("/tmp", safe=""), quote("/nowhere", safe=""))
    cases = {
        "short": ("op-portal", text.replace(key, key[:-1])),
        "line": ("op-portal", text.replace(f'"{key}"', f'"{key}')),
        "database": ("op-cluster", database),
    }
    for name, (command, wrong) in cases.items():
        path = folder / f"{name}.broken"
        path.write_text(wrong)
        program = Path(sys.executable).with_name(command)
        done = subprocess.run([program, "-c", path, "run"], capture_output=True, timeout=60, check=False)
        assert done.returncode != 0, name
        run.shown[name] = done.stdout + done.stderr


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with cluster() as url:
        yield url


@pytest.fixture(scope="module")
def run(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    environment = {VARIABLE: PASSWORD}
    with Facility(tmp_path_factory.mktemp("canary"), environment=environment, log_level="debug") as facility:
        names = [member.name for member in facility.members]
        metrics = dict(zip(names, free_ports(len(names)), strict=True))
        lay_out(facility, url, metrics)
        facility.start()
        facility.wait_ready(PATIENCE_SECONDS)
        yield Run(facility, url, metrics)


@pytest.fixture(scope="module")
def canary(run: Run) -> Canary:
    """Every secret of the run, as it is before and after its work."""
    canary = Canary()
    canary.add("password of the secrets", PASSWORD)
    canary.add("what is sealed", SEALED)
    canary.add("password of the database", DATABASE_PASSWORD)
    for member in run.facility.members:
        document = tomlkit.parse(run.facility.config(member.name).read_text()).unwrap()
        for place, key in keys_within(document, member.name):
            canary.add(f"key {place}", key)
    assert len(canary.secrets) > 2 * len(run.facility.members)
    assert load(run.facility.config("acct")).extras["token"]
    return canary


@pytest.mark.parametrize("secret", [b"\x00\xff" * 16, bytes(range(32)), DATABASE_PASSWORD.encode()])
def test_it_finds_what_is_planted(secret: bytes, tmp_path: Path) -> None:
    canary = Canary()
    canary.add("planted", secret)
    texts = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    texts += [base64.b64encode(b"x" * before + secret + b"y" * after) for before in range(3) for after in range(3)]
    texts += [base64.urlsafe_b64encode(secret), json.dumps({"url": f"postgresql://u:{secret.hex()}@h"}).encode()]
    for text in texts:
        assert canary.found_in({"a log": b'{"event": "' + text + b'"}'}) == [("planted", "a log")], text
        with closing(sqlite3.connect(tmp_path / "log.sqlite")) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS events (state BLOB)")
            database.execute("DELETE FROM events")
            database.execute("INSERT INTO events VALUES (?)", (b" " * 10_000 + text,))
        assert canary.found_in(rows_of(tmp_path / "log.sqlite")) == [("planted", "events")], text
    assert canary.found_in({"a log": b'{"event": "nothing"}'}) == []


async def test_no_secret_is_where_it_does_not_belong(run: Run, canary: Canary) -> None:
    await work(run)
    misconfigured(run)
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as scraper:
        for name, port in run.metrics.items():
            run.shown[f"{name}: metrics"] = (await scraper.get(f"http://{HOST}:{port}/metrics")).content
    places = {**run.shown, **run.files(), **run.processes(), "database": run.dump()}
    for name, path in run.ledgers().items():
        places |= {f"{name}: {table}": data for table, data in rows_of(path).items()}
        backup = path.with_name("backup.db")
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as copy:
            source.backup(copy)
        places |= {f"backup of {name}: {table}": data for table, data in rows_of(backup).items()}
    assert len(run.ledgers()) == len(run.facility.members) - 1  # and the other one is in the database
    assert canary.found_in(places) == []


def test_keys_of_subjects_are_in_their_own_ledger_only(run: Run) -> None:
    """Who holds a ledger can read it; nobody else can, and no log or metric helps."""
    ledgers, canary = run.ledgers(), Canary()
    for name, path in ledgers.items():
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            for number, key in database.execute("SELECT number, key FROM subjects WHERE key IS NOT NULL"):
                canary.add(f"{name} {number}", bytes(key))
    assert len(canary.secrets) >= USERS
    folders = {path.parent.name for path in ledgers.values()}
    elsewhere = {place: data for place, data in run.files().items() if place.split("/")[0] not in folders}
    assert canary.found_in({**run.shown, **elsewhere, **run.processes(), "database": run.dump()}) == []
    for name, path in ledgers.items():
        found = canary.found_in(rows_of(path))
        assert {(secret.split()[0], table) for secret, table in found} <= {(name, "subjects")}


def test_the_environment_of_an_agent_is_its_owners_only(run: Run) -> None:
    """Where the password is: /proc shows it to the agent's own account and to root."""
    environ = Path(f"/proc/{run.facility.processes['acct'].pid}/environ")
    assert PASSWORD.encode() in environ.read_bytes()
    assert environ.stat().st_mode & 0o077 == 0
