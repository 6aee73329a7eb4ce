"""Secrets at rest: what today's agents wrote opens, what we write opens, and nothing leaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.errors import SecretError
from openportal.paddington.config import AgentConfig, Encryption, ServiceConfig
from openportal.paddington.secretstore import (
    SECRET_BYTES_MAX,
    V1_PREFIX,
    Form,
    looks_sealed,
    open_secret,
    password_of,
    seal_secret,
    secret_of,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "secrets-v0.json"
CASES: list[dict[str, Any]] = json.loads(VECTORS.read_text())["cases"]
FORMS: tuple[Form, ...] = ("v0", "v1")


def config_with(encryption: Encryption | None, name: str, extras: dict[str, str]) -> AgentConfig:
    return AgentConfig("Scheduler", ServiceConfig(name, "ws://h:1/", "127.0.0.1", 1), encryption, extras)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["scheme"])
def test_recorded_secrets_open(case: dict[str, Any]) -> None:
    assert open_secret(case["ciphertext"], case["password"]) == case["plaintext"]


def test_recorded_secrets_open_through_the_configuration() -> None:
    environment, simple = CASES
    config = config_with(Encryption("Environment", "OPSEC"), "any", {"k": environment["ciphertext"]})
    assert secret_of(config, "k", {"OPSEC": "hunter2"}) == "AdminSecret123"
    assert secret_of(config, "other", {}) is None
    config = config_with(Encryption("Simple"), "slurmagent", {"tok": simple["ciphertext"]})
    assert secret_of(config, "tok", {}) == "päss word"


@given(st.text(max_size=200), st.text(min_size=1, max_size=40))
@settings(deadline=None, max_examples=40)
def test_what_is_sealed_opens_with_its_password_only(secret: str, password: str) -> None:
    sealed = seal_secret(secret, password)
    assert looks_sealed(sealed)
    assert not sealed.startswith(V1_PREFIX)
    assert open_secret(sealed, password) == secret
    with pytest.raises(SecretError):
        open_secret(sealed, password + "x")


def test_v1_has_its_prefix_and_a_fresh_salt() -> None:
    first, second = (seal_secret("täst", "pw", "v1") for _ in range(2))
    assert first.startswith(V1_PREFIX)
    assert first.removeprefix(V1_PREFIX)[:32] != second.removeprefix(V1_PREFIX)[:32]
    assert open_secret(first, "pw") == open_secret(second, "pw") == "täst"
    with pytest.raises(SecretError):
        open_secret(first.removeprefix(V1_PREFIX), "pw")


@pytest.mark.parametrize("form", FORMS)
def test_an_altered_secret_does_not_open(form: Form) -> None:
    sealed = seal_secret("TopSecret", "pw", form)
    for at in range(len(sealed) - 1, len(V1_PREFIX), -17):
        altered = sealed[:at] + ("0" if sealed[at] != "0" else "1") + sealed[at + 1 :]
        with pytest.raises(SecretError):
            open_secret(altered, "pw")


@given(st.text(max_size=300))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(SecretError):
        open_secret(text, "pw")
    with pytest.raises(SecretError):
        open_secret(V1_PREFIX + text, "pw")


def test_errors_hold_neither_secret_nor_password() -> None:
    sealed = seal_secret("TopSecret", "hunter2")
    config = config_with(Encryption("Environment", "VAR"), "any", {"tok": sealed})
    with pytest.raises(SecretError, match="'tok'") as caught:
        secret_of(config, "tok", {"VAR": "hunter3"})
    assert "TopSecret" not in str(caught.value)
    assert "hunter" not in str(caught.value)
    assert sealed not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_password() -> None:
    assert password_of(Encryption("Simple"), "me", {}) == "me"
    assert password_of(Encryption("Environment", "V"), "me", {"V": "pw"}) == "pw"
    for environ in ({}, {"V": ""}):
        with pytest.raises(SecretError, match="variable V must hold"):
            password_of(Encryption("Environment", "V"), "me", environ)
    with pytest.raises(SecretError, match="No encryption"):
        password_of(None, "me", {})


def test_the_password_is_the_processs_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OP_TEST_PASSWORD", "pw")
    assert password_of(Encryption("Environment", "OP_TEST_PASSWORD"), "me") == "pw"


def test_limits() -> None:
    assert open_secret(seal_secret("x" * (SECRET_BYTES_MAX - 2), "pw"), "pw")
    for secret in ("x" * SECRET_BYTES_MAX, "lone \udc80 surrogate"):
        with pytest.raises(SecretError):
            seal_secret(secret, "pw")
    with pytest.raises(SecretError, match="empty"):
        seal_secret("x", "")


@pytest.mark.parametrize("text", ["", "0", "cafe", V1_PREFIX, "https://ipa.example.org", "0" * 83, "é" * 84, "0" * 85])
def test_plain_values_do_not_look_sealed(text: str) -> None:
    assert not looks_sealed(text)


def test_a_credential_of_systemd_stands_for_a_variable_that_is_not_set(tmp_path: Path) -> None:
    encryption = Encryption("Environment", "V")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    with pytest.raises(SecretError, match="it is not set"):
        password_of(encryption, "me", environ)
    (tmp_path / "V").write_text("from systemd\n")
    assert password_of(encryption, "me", environ) == "from systemd"
    assert password_of(encryption, "me", {**environ, "V": "nearer"}) == "nearer"
