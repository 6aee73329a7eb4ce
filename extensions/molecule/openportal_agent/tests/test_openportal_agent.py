"""Each agent has a file that is root's alone, a unit that is enabled, and a user if it does not need to be root."""

from testinfra.host import Host

testinfra_hosts = ["ansible://openportal"]
FOLDER = "/etc/openportal"
AGENTS = {"one": {"brics", "bridge", "aip1"}, "two": {"clusters", "shared", "acct", "fs", "slurm"}}
WORK_AS_ROOT = {"acct", "fs"}


def agents(host: Host) -> set[str]:
    return AGENTS[host.check_output("hostname")]


def test_the_files_are_root_s_alone(host: Host) -> None:
    folder = host.file(FOLDER)
    assert (folder.user, folder.group, folder.mode) == ("root", "root", 0o700)
    files = {name: host.file(f"{FOLDER}/{name}") for name in folder.listdir() if not name.startswith(".")}
    assert {name.removesuffix(".toml") for name in files if name.endswith(".toml")} == agents(host)
    assert {(file.user, file.mode) for file in files.values()} == {("root", 0o600)}


def test_every_agent_has_a_unit_that_systemd_takes(host: Host) -> None:
    for agent in agents(host):
        unit = f"openportal-agent@{agent}.service"
        said = host.run(f"systemd-analyze verify {unit}")
        assert (said.rc, said.stderr) == (0, "")
        assert host.check_output(f"systemctl show -P User {unit}") == (
            "root" if agent in WORK_AS_ROOT else f"op-{agent}"
        )


def test_an_agent_that_need_not_be_root_has_a_user_of_its_own(host: Host) -> None:
    users = {user.removeprefix("op-") for user in host.check_output("cut -d: -f1 /etc/passwd").split() if "op-" in user}
    assert users == agents(host) - WORK_AS_ROOT


def test_a_secret_is_sealed(host: Host) -> None:
    text = host.check_output(f"cat {FOLDER}/*.toml")
    assert "canary" not in text
    assert ("token = " in text) == ("OPENPORTAL_PASSWORD" in text) == ("slurm" in agents(host))
