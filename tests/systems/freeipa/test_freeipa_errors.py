"""What a real FreeIPA answers when something is wrong, row by row, and what becomes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest

from openportal.agents.account.freeipa import directory, plan, rpc
from openportal.agents.account.freeipa.calls import (
    Call,
    IpaBusy,
    IpaDown,
    IpaExists,
    IpaForbidden,
    IpaInvalid,
    IpaLogin,
    IpaNotFound,
    IpaRefusal,
    IpaUnchanged,
    IpaUntrusted,
)
from openportal.agents.account.freeipa.entries import find_users
from openportal.agents.account.freeipa.rpc import Credentials, Session, trust
from openportal.errors import JobError, RunError
from tests.agents.runs import answer
from tests.systems.freeipa.bed import Bed
from tests.systems.freeipa.build import ADMIN_PASSWORD
from tests.systems.freeipa.machine import ADDRESSES, full_name
from tests.systems.freeipa.site import AGENT, PASSWORD, leaf

pytestmark = pytest.mark.systems
SERVER = full_name("srv")
Sessions = Callable[..., Session]
DIRSRV, KDC, HTTPD = "dirsrv@IPA-TEST.service", "krb5-kdc.service", "apache2.service"


@pytest.fixture
async def open_session(bed: Bed) -> AsyncIterator[Sessions]:
    made: list[Session] = []

    def make(user: str = "admin", password: str = ADMIN_PASSWORD, server: str = SERVER, ca: bool = True) -> Session:
        made.append(
            Session(server, Credentials(user, password), trust(str(bed.ca_file) if ca else None, insecure=False))
        )
        return made[-1]

    yield make
    for session in made:
        await session.close()


@pytest.fixture
async def session(open_session: Sessions) -> Session:
    return open_session()


def create(name: str, **options: object) -> Call:
    return Call("user_add", name, {"givenname": "G", "sn": "S", **options}, "create user")


def switch(name: str, method: str) -> Call:
    return Call(method, name, {}, "switch")


@contextmanager
def stopped(bed: Bed, unit: str) -> Iterator[None]:
    host = bed.hosts["srv"]
    host.run("systemctl", "stop", unit)
    try:
        yield
    finally:
        host.run("systemctl", "start", unit)
        bed.wait_login("srv")


ROWS: list[tuple[str, Call, type[JobError], str]] = [
    ("4001", Call("user_show", "err.nobody"), IpaNotFound, "user not found"),
    ("4001", Call("user_mod", "err.nobody", {"sn": "S"}, "change"), IpaNotFound, "user not found"),
    ("4001", switch("err.nobody", "user_disable"), IpaNotFound, "no such entry"),
    ("4002", create("err.here"), IpaExists, "already exists"),
    ("4010", switch("err.off", "user_disable"), IpaUnchanged, "already disabled"),
    ("4009", switch("err.here", "user_enable"), IpaUnchanged, "already enabled"),
    ("4202", Call("user_mod", "err.here", {"sn": "S"}, "change"), IpaUnchanged, "no modifications"),
    ("4024", create("err.group"), IpaExists, "private group"),
    ("4308", switch("admin", "user_disable"), IpaForbidden, "admin"),
    ("4309", Call("group_del", "admins", {}, "delete"), IpaForbidden, "admins"),
    ("3005", create("err.x", bogus="x"), IpaInvalid, "bogus"),
    ("3007", Call("user_add", "err.x", {"givenname": "G"}, "create user"), IpaInvalid, "'sn' is required"),
    ("3008", create("err.x", uidnumber="abc"), IpaInvalid, "integer"),
    ("3009", create("b@d name"), IpaInvalid, "may only include"),
    ("905", Call("nosuch", "x"), IpaRefusal, "unknown command"),
]

IN_A_BATCH = {"3005": 3008}  # an option that there is none of is a parameter that cannot be converted


@pytest.fixture(scope="module", autouse=True)
def entries(bed: Bed) -> None:
    bed.ipa("user-add", "err.here", "--first", "G", "--last", "S")
    bed.ipa("user-add", "err.off", "--first", "G", "--last", "S")
    bed.ipa("user-disable", "err.off")
    bed.ipa("group-add", "err.group")


@pytest.mark.parametrize(("code", "call", "error", "words"), ROWS, ids=[row[0] for row in ROWS])
async def test_an_error_by_itself_and_in_a_batch(
    session: Session, code: str, call: Call, error: type[JobError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        await session.call(call)
    assert type(caught.value) is error
    assert f"error {code}" in str(caught.value)
    first, second = await session.send([call, Call("user_show", "admin")])
    assert first.code == IN_A_BATCH.get(code, int(code))
    assert second.code == 0


async def test_what_a_plan_accepts_is_no_error(session: Session) -> None:
    assert await session.call(plan.switch("err.off", disabled=True)) == {}
    assert await session.call(plan.switch("err.here", disabled=False)) == {}
    assert await session.call(plan.make_group("err.group")) == {}


async def test_members_fail_without_an_error(session: Session) -> None:
    await session.call(plan.join("err.here", "err.group"))
    await session.call(plan.join("err.here", "err.group"))
    with pytest.raises(IpaNotFound, match=r"err\.ghost in err\.group"):
        await session.call(plan.join("err.ghost", "err.group"))
    with pytest.raises(IpaNotFound, match="group not found"):
        await session.call(plan.join("err.here", "err.nogroup"))
    await session.call(plan.leave("err.here", "err.group"))
    await session.call(plan.leave("err.here", "err.group"))


async def test_a_plain_user_may_not(open_session: Sessions) -> None:
    with pytest.raises(IpaForbidden, match="2100"):
        await open_session(AGENT, PASSWORD).call(create("err.x"))


async def test_an_answer_that_was_cut_short_decides_nothing(bed: Bed, session: Session) -> None:
    found = await session.call(Call("user_find", "", {"sizelimit": 1}))
    assert found["truncated"] is True
    accounts = leaf(bed)
    with pytest.raises(RunError, match="search limits"):
        await accounts.directory._find(find_users(sizelimit=1))
    await accounts.servers.close()


async def test_a_version_that_is_too_new(session: Session) -> None:
    body = {"method": "ping", "params": [[], {"version": "9.999"}], "id": 0}
    assert (await session._ask(body))["error"]["code"] == 901


async def test_not_a_server_of_that_name(open_session: Sessions) -> None:
    with pytest.raises(IpaUntrusted, match=r"10\.213\.0\.1"):
        await open_session(server=ADDRESSES["srv"]).call(Call("ping", ""))


async def test_a_foreign_referer(session: Session) -> None:
    session._http.headers["Referer"] = "https://elsewhere.test/ipa"
    with pytest.raises(IpaRefusal, match="name it in full"):
        await session.call(Call("ping", ""))


async def test_a_certificate_that_is_not_trusted(open_session: Sessions) -> None:
    with pytest.raises(IpaUntrusted, match="freeipa-ca-file") as caught:
        await open_session(ca=False).call(Call("ping", ""))
    assert caught.value.wire_kind == "unavailable"


async def test_the_authority_in_the_environment(
    bed: Bed, open_session: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bed.ca_file))
    assert await open_session(ca=False).call(Call("ping", ""))


async def test_certificates_that_nobody_looks_at(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    environ = {"OPENPORTAL_ALLOW_INVALID_SSL_CERTS": "true"}
    accounts = leaf(bed, environ=environ, freeipa_ca_file="")
    assert await answer(accounts, "is_existing_user admin.x.brics") is False
    assert "NOT verified" in caplog.text
    await accounts.servers.close()


# --- the door ---------------------------------------------------------------------------------------------------------


async def test_a_wrong_password_is_not_tried_again_for_a_while(open_session: Sessions) -> None:
    session = open_session(password="wrong")
    for _ in range(10):
        with pytest.raises(IpaLogin, match="password is wrong"):
            await session.call(Call("ping", ""))
    assert session.requests == 1


async def test_who_is_not_known_or_disabled(bed: Bed, open_session: Sessions) -> None:
    with pytest.raises(IpaLogin, match="no such user"):
        await open_session(user="err.ghost").call(Call("ping", ""))
    bed.ipa("user-disable", AGENT)
    try:
        with pytest.raises(IpaLogin, match="disabled or locked"):
            await open_session(AGENT, PASSWORD).call(Call("ping", ""))
    finally:
        bed.ipa("user-enable", AGENT)


async def test_a_password_that_expired_is_told_and_not_changed(bed: Bed, open_session: Sessions) -> None:
    bed.ipa("user-mod", AGENT, "--password-expiration", "20200101000000Z")
    try:
        with pytest.raises(IpaLogin, match="password has expired") as caught:
            await open_session(AGENT, PASSWORD).call(Call("ping", ""))
        assert PASSWORD not in str(caught.value)
    finally:
        bed.ipa("user-mod", AGENT, "--password-expiration", "20361231235959Z")
    assert await open_session(AGENT, PASSWORD).call(Call("ping", ""))


async def test_an_account_that_was_locked(bed: Bed, open_session: Sessions) -> None:
    bed.ipa("user-add", "err.locked", "--first", "G", "--last", "S")
    bed.ipa("passwd", "err.locked", PASSWORD)
    for _ in range(7):
        with pytest.raises(IpaLogin):
            await open_session("err.locked", "wrong").call(Call("ping", ""))
    with pytest.raises(IpaLogin, match="disabled or locked"):
        await open_session("err.locked", PASSWORD).call(Call("ping", ""))


async def test_a_session_that_is_not_accepted_is_opened_again(session: Session) -> None:
    await session.call(Call("ping", ""))
    assert session._cookie is not None
    session._cookie = session._cookie[: len(session._cookie) // 2]
    before = session.requests
    assert await session.call(Call("ping", ""))
    assert session.requests - before == 3  # refused, logged in, answered


async def test_a_session_of_which_the_server_knows_nothing_any_more_is_opened_again(bed: Bed, session: Session) -> None:
    await session.call(Call("ping", ""))
    find = "grep -rhoP 'GssapiSessionKey file:\\K\\S+' /etc/apache2 | head -n 1"
    with stopped(bed, HTTPD):
        bed.hosts["srv"].run("sh", "-c", f"rm $({find})")
    before = session.requests
    assert await session.call(Call("user_show", "admin"))
    assert session.requests - before == 3  # refused, logged in, answered


async def test_a_cookie_that_crashes_the_server_s_child(session: Session) -> None:
    """A token that is no token: the connection ends without an answer, which is no answer and not a refusal."""
    session._cookie = "ipa_session=MagBearerToken=garbage"
    with pytest.raises(IpaDown, match="without an answer"):
        await session.call(Call("ping", ""))


# --- what is stopped --------------------------------------------------------------------------------------------------


async def test_the_directory_server_is_stopped(bed: Bed, session: Session, open_session: Sessions) -> None:
    await session.call(Call("ping", ""))
    cookie = session._cookie
    with stopped(bed, DIRSRV):
        for each in (session, open_session()):
            with pytest.raises(IpaDown, match="answers 500") as caught:
                await each.call(Call("user_show", "admin"))
            assert caught.value.refused is False
    assert await session.call(Call("user_show", "admin"))
    assert session._cookie == cookie


async def test_a_directory_that_takes_no_changes(bed: Bed, session: Session) -> None:
    """As it is when its disk is full."""
    bed.set_read_only("srv", True)
    try:
        assert await session.call(Call("user_show", "admin"))
        with pytest.raises(IpaBusy, match="4203"):
            await session.call(create("err.readonly"))
    finally:
        bed.set_read_only("srv", False)
    assert await session.call(create("err.readonly"))


async def test_the_kdc_is_stopped(bed: Bed, session: Session, open_session: Sessions) -> None:
    await session.call(Call("ping", ""))
    with stopped(bed, KDC):
        assert await session.call(Call("user_show", "admin"))
        with pytest.raises(IpaDown, match="KDC"):
            await open_session().call(Call("ping", ""))


async def test_the_web_server_is_stopped(bed: Bed, session: Session) -> None:
    with stopped(bed, HTTPD), pytest.raises(IpaDown, match="cannot be reached") as caught:
        await session.call(Call("ping", ""))
    assert caught.value.refused is True


async def test_the_network_is_cut(bed: Bed, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    await session.call(Call("ping", ""))
    monkeypatch.setattr(rpc, "CALL_SECONDS", 1.0)
    bed.network.cut("srv")
    try:
        with pytest.raises(IpaDown, match="did not answer within") as caught:
            await session.call(Call("ping", ""))
        assert caught.value.refused is False
    finally:
        bed.network.mend("srv")


async def test_an_agent_waits_for_a_server_that_comes_back(bed: Bed) -> None:
    accounts = leaf(bed)
    host = bed.hosts["srv"]
    await answer(accounts, "is_existing_user err.here.brics")
    host.run("systemctl", "--no-block", "restart", DIRSRV)
    assert await answer(accounts, "add_user patient.err.brics") == "patient.err.brics:patient.err:brics.err"
    bed.wait_login("srv")
    await accounts.servers.close()


async def test_an_agent_gives_up_in_time(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "PATIENCE_SECONDS", 1.0)
    accounts = leaf(bed)
    with stopped(bed, DIRSRV), pytest.raises(IpaDown) as caught:
        await answer(accounts, "add_user hopeless.err.brics")
    assert caught.value.wire_kind == "unavailable"
    await accounts.servers.close()
