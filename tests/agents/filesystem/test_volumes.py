from __future__ import annotations

import tomllib

import pytest

from openportal.agents.filesystem import volumes as plan
from openportal.agents.filesystem.volumes import Found, Place, Step, Volumes, check_root
from openportal.errors import ConfigError, RunError
from openportal.grammar.identifiers import ProjectMapping, UserMapping

BOB = UserMapping.parse("bob.climate.brics:bob.climate:brics.climate")
CLIMATE = BOB.user.project_identifier

RECORDED = """
agent = "Filesystem"
[user_volumes.home]
roots = ["/srv/opfs/home"]
[project_volumes.projects]
roots = ["/srv/opfs/projects"]
"""
FULL = """
[user_volumes.home]
roots = ["/home"]
subpath = "{PROJECT}/{User}"
is_home = true
quota_engine = "lustre"
default_quota = "10GB"
[user_volumes.scratch]
roots = ["/scratch", "/fast/"]
permissions = ["0700", "750"]
subpath = "of/{project}/{user}"
[user_volumes.flat]
roots = ["/flat"]
subpath = "{project}"
[project_volumes.work]
roots = ["/work", "/arch"]
links = ["", "/projects/{project}/archive"]
"""


def volumes(text: str) -> Volumes:
    return Volumes.of(tomllib.loads(text))


def paths(places: tuple[Place, ...]) -> list[str]:
    return [f"{place.path} {place.mode:04o}" for place in places]


def test_the_recorded_answers() -> None:
    found = volumes(RECORDED)
    home = found.home(BOB)
    assert home is not None and home.path == "/srv/opfs/home/climate/bob.climate"
    assert paths(found.project_dirs(CLIMATE)) == ["/srv/opfs/projects/climate 2770"]
    assert paths(found.project_roots(CLIMATE)) == ["/srv/opfs/home/climate 0755"]
    assert paths(found.own_dirs(BOB)) == ["/srv/opfs/home/climate/bob.climate 0755"]


def test_everything_at_once() -> None:
    found = volumes(FULL)
    assert paths(found.user_dirs(BOB)) == [
        "/home/climate/bob.climate 0755",
        "/scratch/of/climate/bob.climate 0700",
        "/fast/of/climate/bob.climate 0750",
        "/flat/climate 0755",
    ]
    assert [place.path for place in found.own_dirs(BOB)] == [
        "/home/climate/bob.climate",
        "/scratch/of/climate/bob.climate",
        "/fast/of/climate/bob.climate",
    ]
    assert paths(found.project_places(CLIMATE)) == [
        "/work/climate 2770",
        "/arch/climate 2770",
        "/home/climate 0755",
        "/scratch/of/climate 0700",
        "/fast/of/climate 0750",
        "/flat/climate 0755",
    ]
    links = found.links(CLIMATE)
    assert [(link.place.path, link.target) for link in links] == [("/projects/climate/archive", "/arch/climate")]
    assert (links[0].place.root, links[0].place.parts) == ("/projects", ("climate", "archive"))
    assert found.user_volumes["home"].default_quota == "10GB"


def test_homes() -> None:
    assert volumes(RECORDED.replace('["/srv/opfs/home"]', '["/a", "/b"]')).home(BOB) is None
    assert volumes(FULL.replace("is_home = true", "")).home(BOB) is None
    assert Volumes.of({}).home(BOB) is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"/home"', '"home"', "must be an absolute path"),
        ('"/home"', '"/home/../etc"', "must be an absolute path"),
        ("{PROJECT}/{User}", "/{project}", "must be a relative path"),
        ("{PROJECT}/{User}", "{project}/../x", "must be a relative path"),
        ("{PROJECT}/{User}", "{project}/.recycle", "must be a relative path"),
        ("{PROJECT}/{User}", "{user}", "must hold {project}"),
        ("{PROJECT}/{User}", "{user}/{project}", "only the last part may hold {user}"),
        ("{PROJECT}/{User}", "", "must be a relative path"),
        ('["0700", "750"]', '["0700", "750", "755"]', "2 roots and 3 permissions"),
        ('["0700", "750"]', '"0999"', "octal digits"),
        ('["0700", "750"]', '"77"', "octal digits"),
        ('["0700", "750"]', '"17777"', "octal digits"),
        ('["0700", "750"]', "755", ""),
        ('["", ', "[", "2 roots and 1 links"),
        ("/projects/{project}/archive", "projects/{project}", "must be an absolute path that holds"),
        ("/projects/{project}/archive", "/projects/one", "must be an absolute path that holds"),
        ("/projects/{project}/archive", "/projects/../{project}", "relative path without"),
        ('roots = ["/flat"]', "roots = []", "at least 1 item"),
        ('roots = ["/flat"]', 'roots = ["/flat"]\nis_home = true', "more than one user volume"),
        ('roots = ["/flat"]', 'roots = ["/flat"]\nrotos = 1', "Extra inputs"),
        ("is_home = true", 'is_home = true\npermissions = ""', "octal digits"),
    ],
)
def test_mistakes_are_named(old: str, new: str, reason: str) -> None:
    assert old in FULL
    with pytest.raises(ConfigError) as caught:
        volumes(FULL.replace(old, new, 1))
    assert reason in str(caught.value)
    assert "volumes" in str(caught.value)


def test_a_project_volume_has_no_users() -> None:
    with pytest.raises(ConfigError, match="cannot hold"):
        volumes('[project_volumes.p]\nroots = ["/p"]\nsubpath = "{project}/{user}"')


@pytest.mark.parametrize(
    "root", ["/", "//", "/etc", "/etc/", "/./etc/x", "/var/lib/x", "/usr", "/tmp", "/root/x", "/proc"]
)
def test_directories_of_the_system_are_no_roots(root: str) -> None:
    with pytest.raises(ConfigError, match="directory of the system"):
        check_root(root)
    with pytest.raises(ConfigError):
        Volumes.of({"project_volumes": {"p": {"roots": [root]}}}).check_roots()


@pytest.mark.parametrize("root", ["home", "", "/a/../b", "/a\0b", "/" + "a" * 5000])
def test_other_bad_roots(root: str) -> None:
    with pytest.raises(ConfigError, match="absolute path"):
        check_root(root)


def test_good_roots_and_links() -> None:
    for root in ("/home", "/etcetera", "/srv/etc", "/variety"):
        check_root(root)
    volumes(FULL).check_roots()
    with pytest.raises(ConfigError, match="directory of the system"):
        volumes(FULL.replace("/projects/{project}/archive", "/etc/{project}")).check_roots()
    with pytest.raises(ConfigError, match="directory of the system"):
        volumes(FULL.replace("/projects/{project}/archive", "/{project}")).check_roots()


HERE = Place("home", "/home", ("climate",))


@pytest.mark.parametrize(
    ("found", "add", "remove"),
    [
        (Found(), Step.MAKE, None),
        (Found(recycled=True), Step.RESTORE, None),
        (Found(there=True), None, Step.RECYCLE),
        (Found(there=True, recycled=True), None, Step.RECYCLE),
        (Found(there=True, recycled=True, skeleton=True), Step.RESTORE, Step.RECYCLE),
    ],
)
def test_the_table(found: Found, add: Step | None, remove: Step | None) -> None:
    assert plan.plan_add({HERE: found}) == ([(add, HERE)] if add else [])
    assert plan.plan_remove({HERE: found}) == ([(remove, HERE)] if remove else [])


def test_something_else_in_the_place() -> None:
    with pytest.raises(RunError, match="is not a directory"):
        plan.plan_add({HERE: Found(there=True, strange=True)})
    assert plan.plan_remove({HERE: Found(there=True, strange=True)}) == [(Step.RECYCLE, HERE)]


def test_the_deepest_is_removed_first() -> None:
    below = Place("home", "/home", ("climate", "bob"))
    there = Found(there=True)
    assert [place for _, place in plan.plan_remove({HERE: there, below: there})] == [below, HERE]


def test_the_projects_mapping_in_a_users() -> None:
    mapping = ProjectMapping.parse("climate.brics:brics.climate")
    assert plan.project_of(BOB) == mapping == plan.project_of(mapping)
