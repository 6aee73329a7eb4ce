"""The file that the bridge's clients load is theirs, says what the bridge listens with, and nobody else can read it."""

import tomllib

from testinfra.host import Host

testinfra_hosts = ["ansible://one"]
CLIENT_FILE = "/etc/openportal-client/client.toml"


def test_the_file_is_theirs_alone(host: Host) -> None:
    file, folder = host.file(CLIENT_FILE), host.file("/etc/openportal-client")
    assert (file.user, file.group, file.mode) == ("www-data", "www-data", 0o440)
    assert (folder.user, folder.group, folder.mode) == ("root", "www-data", 0o750)
    assert host.run(f"setpriv --reuid www-data --regid www-data --clear-groups cat {CLIENT_FILE}").rc == 0
    assert host.run(f"setpriv --reuid nobody --regid nogroup --clear-groups cat {CLIENT_FILE}").rc != 0


def test_it_names_the_bridge_and_its_key(host: Host) -> None:
    client = tomllib.loads(host.file(CLIENT_FILE).content_string)
    bridge = tomllib.loads(host.file("/etc/openportal/bridge.toml").content_string)["bridge"]
    assert client == {"url": bridge["url"], "key": bridge["key"]}
