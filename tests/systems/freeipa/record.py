"""Record what a real FreeIPA answers, for the tests that run without one.

    python -m tests.systems.freeipa.record

Writes tests/agents/account/freeipa/answers.json: bodies of the JSON-RPC by name, and pages with status and headers.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from openportal.agents.account.freeipa import plan
from openportal.agents.account.freeipa.calls import Call, envelope, merged
from openportal.agents.account.freeipa.entries import find_groups, show_group, show_user
from openportal.agents.account.freeipa.rpc import Credentials, Session, trust
from tests.systems.freeipa.bed import Bed, running
from tests.systems.freeipa.build import ADMIN_PASSWORD
from tests.systems.freeipa.machine import full_name
from tests.systems.freeipa.site import AGENT, PASSWORD, found_names, make_service_account

OUT = Path(__file__).parents[2] / "agents" / "account" / "freeipa" / "answers.json"
SERVER = full_name("srv")
KEPT_HEADERS = ("content-type", "www-authenticate", "x-ipa-rejection-reason")
DIRSRV, KDC = "dirsrv@IPA-TEST.service", "krb5-kdc.service"


def create(name: str) -> Call:
    options = {"givenname": "rec", "sn": "rec", "cn": f"{name}.brics", "userclass": ["openportal"]}
    return Call("user_add", name, options, "create user")


def joined(*names: str) -> Call:
    return merged([plan.join(name, "rec.group") for name in names])


CALLS: list[tuple[str | None, list[Call]]] = [
    ("ping", [Call("ping", "")]),
    (None, [Call("group_add", "rec.group", {"description": "group.rec | words"})]),
    (None, [create("rec.here")]),
    (None, [create("rec.twice")]),
    (None, [create("rec.off")]),
    (None, [joined("rec.twice")]),
    (None, [plan.switch("rec.off", disabled=True)]),
    ("members", [joined("rec.here", "rec.twice", "rec.ghost")]),
    ("user", [show_user("rec.here")]),
    ("disabled user", [show_user("rec.off")]),
    ("group", [show_group("rec.group")]),
    ("groups", [find_groups("rec.group")]),
    ("missing", [show_user("rec.nobody")]),
    ("duplicate", [create("rec.here")]),
    ("disabled twice", [plan.switch("rec.off", disabled=True)]),
    ("enabled twice", [plan.switch("rec.here", disabled=False)]),
    ("nothing to change", [Call("user_mod", "rec.here", {"sn": "rec"})]),
    ("private group", [create("rec.group")]),
    ("bad name", [create("b@d name")]),
    ("unknown method", [Call("nosuch", "x")]),
    (
        "batch",
        [show_user("rec.here"), show_user("rec.nobody"), plan.switch("rec.off", disabled=True), joined("rec.here")],
    ),
]


async def record(bed: Bed) -> dict[str, Any]:
    context = trust(str(bed.ca_file), insecure=False)
    admin = Session(SERVER, Credentials("admin", ADMIN_PASSWORD), context)
    agent = Session(SERVER, Credentials(AGENT, PASSWORD), context)
    answers = {}
    for name, calls in CALLS:
        body = await admin._ask(envelope(calls))
        if name is not None:
            answers[name] = body
    answers["forbidden"] = await agent._ask(envelope([Call("user_add", "rec.x", {"givenname": "r", "sn": "r"})]))
    pages = await record_pages(bed, admin)
    await admin.close()
    await agent.close()
    return {
        "recorded by": "python -m tests.systems.freeipa.record",
        "server": answers["ping"]["version"],
        "answers": answers,
        "pages": pages,
    }


async def record_pages(bed: Bed, admin: Session) -> dict[str, Any]:
    web = Web(admin)
    host = bed.hosts["srv"]
    found = {
        "no session": await web.call(Cookie=""),
        "foreign referer": await web.call(Referer="https://elsewhere.test/ipa"),
        "wrong password": await web.login("admin", "wrong"),
        "unknown user": await web.login("rec.ghost", "wrong"),
    }
    bed.ipa("user-disable", AGENT)
    found["disabled user"] = await web.login(AGENT, PASSWORD)
    bed.ipa("user-enable", AGENT)
    bed.ipa("user-mod", AGENT, "--password-expiration", "20200101000000Z")
    found["expired password"] = await web.login(AGENT, PASSWORD)
    bed.ipa("user-mod", AGENT, "--password-expiration", "20361231235959Z")
    host.run("systemctl", "stop", KDC)
    found["kdc down"] = await web.login("admin", ADMIN_PASSWORD)
    host.run("systemctl", "start", KDC)
    host.run("systemctl", "stop", DIRSRV)
    found["directory down"] = await web.call()
    host.run("systemctl", "start", DIRSRV)
    return found


class Web:
    """Pages as they come, by a session that is open."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def call(self, **headers: str) -> dict[str, Any]:
        body = json.dumps(envelope([Call("ping", "")])).encode()
        usual = {"Cookie": self._session._cookie or "", "Content-Type": "application/json"}
        return self._kept(await self._session._http.post(self._url("json"), content=body, headers=usual | headers))

    async def login(self, user: str, password: str) -> dict[str, Any]:
        form = {"user": user, "password": password}
        return self._kept(await self._session._http.post(self._url("login_password"), data=form))

    def _url(self, path: str) -> str:
        return f"https://{SERVER}/ipa/session/{path}"

    def _kept(self, response: httpx.Response) -> dict[str, Any]:
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        return {"status": response.status_code, "headers": headers, "text": response.text}


if __name__ == "__main__":
    with running() as bed, found_names():
        make_service_account(bed)
        OUT.write_text(json.dumps(asyncio.run(record(bed)), indent=1, sort_keys=True) + "\n")
    print(OUT)
