"""Our file has the keys of the old one, which is left as it was, and the old unit does not run any more."""

import os
import tomllib
from pathlib import Path

from testinfra.host import Host

testinfra_hosts = ["ansible://openportal"]
RECORDED = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "tests/vectors/agents-0.32.2/fs.toml"


def keys(host: Host, path: str) -> tuple[str, str]:
    """The inner and the outer key that a file has for the agent's one peer."""
    (peer,) = tomllib.loads(host.file(path).content_string)["service"]["servers"]
    assert peer["name"] == "shared"
    return peer["inner_key"]["data"], peer["outer_key"]["data"]


def test_the_keys_were_taken_over(host: Host) -> None:
    assert keys(host, "/etc/openportal/fs.toml") == keys(host, "/etc/op/fs.toml")
    assert host.file("/etc/openportal/fs.toml").mode == 0o600


def test_the_old_file_is_as_it_was(host: Host) -> None:
    assert host.file("/etc/op/fs.toml").content_string == RECORDED.read_text().replace("/projects", "/srv")


def test_the_old_agent_does_not_run_any_more(host: Host) -> None:
    old = host.service("op-fs")
    assert (old.is_running, old.is_enabled) == (False, False)
