"""On the real file system, as root: owners are the accounts `daemon` and `games` that every machine has."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from openportal.agents.filesystem.directories import Directories, Owner, Tree
from openportal.agents.filesystem.volumes import DENIED, Found, Place, Volumes
from openportal.errors import ConfigError, InvalidJob, RunError, Unavailable
from tests.agents.runs import Killed, MemoryRun, answer, effects_of

PROJECT = "climate.brics:games"
BOB = "bob.climate.brics:daemon:games"
EVE = "eve.climate.brics:bin:games"
HERE = tuple(path for path in DENIED if path != "/tmp")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="directories are given away, which only root may do")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("home", "projects", "links"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def leaf(root: Path) -> Directories:
    return make_leaf(root)


def make_leaf(root: Path, shared: str = "0755") -> Directories:
    home = {"roots": [f"{root}/home"], "permissions": shared}
    projects = {"roots": [f"{root}/projects"], "links": [f"{root}/links/{{project}}"]}
    return Directories(Volumes.of({"user_volumes": {"home": home}, "project_volumes": {"p": projects}}), {}, HERE)


def shown(path: Path) -> str:
    found = path.lstat()
    owner, group = pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name
    return f"{owner}:{group} {stat.S_IMODE(found.st_mode):04o}"


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


async def test_the_recorded_conversation(leaf: Directories, root: Path) -> None:
    home = f"{root}/home/climate/daemon"
    for text, expected in [
        (f"add_local_project {PROJECT}", None),
        (f"get_local_home_dir {BOB}", home),
        (f"add_local_user {BOB}", None),
        ("remove_local_user alice.demo.brics:bin:games", None),
        (f"get_local_project_dirs {PROJECT}", [f"{root}/projects/climate"]),
        (f"get_local_user_dirs {BOB}", [home]),
        (f"is_local_user_added {BOB}", True),
        (f"is_local_user_removed {BOB}", False),
        (f"is_local_project_added {PROJECT}", True),
        (f"is_local_project_removed {PROJECT}", False),
        (f"remove_local_user {BOB}", None),
        (f"is_local_user_added {BOB}", False),
        (f"is_local_user_removed {BOB}", True),
        (f"remove_local_project {PROJECT}", None),
        (f"is_local_project_added {PROJECT}", False),
        (f"is_local_project_removed {PROJECT}", True),
    ]:
        assert await answer(leaf, text) == expected, text


async def test_owners_permissions_and_links(leaf: Directories, root: Path) -> None:
    old = os.umask(0o077)
    try:
        await answer(leaf, f"add_local_user {BOB}")
    finally:
        os.umask(old)
    assert shown(root / "projects/climate") == "root:games 2770"
    assert shown(root / "home/climate") == "root:games 0755"
    assert shown(root / "home/climate/daemon") == "daemon:games 0755"
    assert os.readlink(root / "links/climate") == f"{root}/projects/climate"  # noqa: PTH115
    assert names(root / "home") == ["climate"] and names(root / "home/climate") == ["daemon"]


async def test_every_change_twice_has_its_effects_once(leaf: Directories) -> None:
    for text, actions in [
        (f"add_local_project {PROJECT}", ["make directory", "make directory", "make link"]),
        (f"add_local_user {BOB}", ["make directory"]),
        (f"remove_local_user {BOB}", ["recycle directory"]),
        (f"add_local_user {BOB}", ["restore directory"]),
        (f"remove_local_project {PROJECT}", ["remove link", "recycle directory", "recycle directory"]),
        (f"add_local_user {BOB}", ["restore directory", "restore directory", "make link"]),
    ]:
        assert [action for action, _ in await effects_of(leaf, text)] == actions, text
        assert await effects_of(leaf, text) == [], text


async def test_recycled_and_restored(leaf: Directories, root: Path) -> None:
    await answer(leaf, f"add_local_user {BOB}")
    home = root / "home/climate/daemon"
    (home / "thesis.txt").write_text("years of work")
    home.chmod(0o2700)
    os.utime(home, (1, 1))
    await answer(leaf, f"remove_local_user {BOB}")
    aside = root / "home/climate/.recycle"
    assert not home.exists() and shown(aside) == "root:root 0700"
    assert (aside / "daemon").lstat().st_mtime > 1
    os.chown(aside / "daemon", 12345, 12345)
    (aside / "daemon").chmod(0o2700)
    await answer(leaf, f"add_local_user {BOB}")
    assert (home / "thesis.txt").read_text() == "years of work"
    assert shown(home) == "daemon:games 2700"
    assert not (aside / "daemon").exists()


async def test_a_new_copy_replaces_an_older_one(leaf: Directories, root: Path) -> None:
    home = root / "home/climate/daemon"
    for text in ("old", "new"):
        await answer(leaf, f"add_local_project {PROJECT}")
        home.mkdir()
        (home / text).mkdir()
        await answer(leaf, f"remove_local_user {BOB}")
    assert names(root / "home/climate/.recycle/daemon") == ["new"]


async def test_a_skeleton_yields_to_the_recycled_directory(leaf: Directories, root: Path) -> None:
    await answer(leaf, f"add_local_user {BOB}")
    home = root / "home/climate/daemon"
    (home / "thesis.txt").touch()
    await answer(leaf, f"remove_local_user {BOB}")
    home.mkdir()
    (home / ".bashrc").touch()
    assert await effects_of(leaf, f"add_local_user {BOB}") == [("restore directory", str(home))]
    assert names(home) == ["thesis.txt"]


@pytest.mark.parametrize("kind", ["visible", "directory", "link"])
async def test_a_directory_in_use_does_not_yield(leaf: Directories, root: Path, kind: str) -> None:
    await answer(leaf, f"add_local_user {BOB}")
    home = root / "home/climate/daemon"
    await answer(leaf, f"remove_local_user {BOB}")
    home.mkdir()
    if kind == "visible":
        (home / "thesis.txt").touch()
    elif kind == "directory":
        (home / ".config").mkdir()
    else:
        (home / ".profile").symlink_to("/etc/passwd")
    before = names(home)
    assert await effects_of(leaf, f"add_local_user {BOB}") == []
    assert names(home) == before


async def test_removing_one_user_leaves_the_other(leaf: Directories, root: Path) -> None:
    await answer(leaf, f"add_local_user {BOB}")
    await answer(leaf, f"add_local_user {EVE}")
    await answer(leaf, f"remove_local_user {BOB}")
    assert names(root / "home/climate") == [".recycle", "bin"]


async def test_a_volume_without_users_outlives_each_of_them(root: Path) -> None:
    flat = {"roots": [f"{root}/home"], "subpath": "{project}"}
    leaf = Directories(Volumes.of({"user_volumes": {"flat": flat}}), {}, HERE)
    await answer(leaf, f"add_local_user {BOB}")
    assert await effects_of(leaf, f"remove_local_user {BOB}") == []
    assert shown(root / "home/climate") == "root:games 0755"


@pytest.mark.parametrize("killed", ["make directory", "make link", "recycle directory", "remove link"])
async def test_killed_and_run_again(leaf: Directories, root: Path, killed: str) -> None:
    for text in (f"add_local_user {BOB}", f"remove_local_project {PROJECT}"):
        for run in (MemoryRun(killed_before=killed), MemoryRun(killed_after=killed)):
            try:
                await answer(leaf, text, run)
            except Killed:
                pass
        await answer(leaf, text)
        assert await effects_of(leaf, text) == []
    assert await answer(leaf, f"is_local_project_removed {PROJECT}") is True
    await answer(leaf, f"add_local_user {BOB}")
    assert await answer(leaf, f"is_local_user_added {BOB}") is True


async def test_a_draft_of_an_interrupted_run_is_made_anew(leaf: Directories, root: Path) -> None:
    (root / "home/.openportal-climate").mkdir(mode=0o777)
    await answer(leaf, f"add_local_project {PROJECT}")
    assert shown(root / "home/climate") == "root:games 0755"
    assert names(root / "home") == ["climate"]


# --- attacks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["home/climate", "projects/climate"])
async def test_a_link_in_the_place_of_a_directory(leaf: Directories, root: Path, place: str) -> None:
    outside = root / "outside"
    outside.mkdir(mode=0o700)
    (root / place).symlink_to(outside)
    with pytest.raises(RunError, match=r"links are not followed|is a link or no directory"):
        await answer(leaf, f"add_local_user {BOB}")
    assert shown(outside) == "root:root 0700" and names(outside) == []
    assert await answer(leaf, f"is_local_project_added {PROJECT}") is False


async def test_a_link_in_the_place_of_a_home(root: Path) -> None:
    """A project whose directory its users may write in: one of them prepares a trap for the next."""
    leaf = make_leaf(root, shared="2770")
    await answer(leaf, f"add_local_project {PROJECT}")
    outside = root / "outside"
    outside.mkdir(mode=0o700)
    for trap in ("daemon", ".openportal-daemon", ".recycle"):
        (root / "home/climate" / trap).symlink_to(outside)
        with pytest.raises(RunError):
            await answer(leaf, f"add_local_user {BOB}")
        (root / "home/climate" / trap).unlink()
    (root / "home/climate/.recycle").mkdir()
    os.chown(root / "home/climate/.recycle", 2, 2)
    with pytest.raises(RunError, match="belongs to somebody else"):
        await answer(leaf, f"add_local_user {BOB}")
    assert shown(outside) == "root:root 0700" and names(outside) == []


async def test_a_link_is_recycled_itself_and_not_restored(leaf: Directories, root: Path) -> None:
    await answer(leaf, f"add_local_project {PROJECT}")
    outside = root / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    home = root / "home/climate/daemon"
    home.symlink_to(outside)
    await answer(leaf, f"remove_local_user {BOB}")
    assert (root / "home/climate/.recycle/daemon").is_symlink() and names(outside) == ["precious"]
    assert await effects_of(leaf, f"add_local_user {BOB}") == [("make directory", str(home))]
    await answer(leaf, f"remove_local_user {BOB}")
    assert names(outside) == ["precious"] and not (root / "home/climate/.recycle/daemon").is_symlink()


async def test_an_older_copy_is_removed_without_following_links(leaf: Directories, root: Path) -> None:
    await answer(leaf, f"add_local_user {BOB}")
    outside = root / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (root / "home/climate/daemon/link").symlink_to(outside)
    await answer(leaf, f"remove_local_user {BOB}")
    (root / "home/climate/daemon").mkdir()
    await answer(leaf, f"remove_local_user {BOB}")
    assert names(outside) == ["precious"] and names(root / "home/climate/.recycle/daemon") == []


async def test_a_root_that_is_a_link_or_missing(leaf: Directories, root: Path) -> None:
    (root / "home").rename(root / "moved")
    with pytest.raises(Unavailable, match="is its file system mounted"):
        await answer(leaf, f"add_local_project {PROJECT}")
    (root / "home").symlink_to(root / "moved")
    with pytest.raises(RunError, match="is a link or no directory"):
        await answer(leaf, f"add_local_project {PROJECT}")


@pytest.mark.parametrize("end", ["", "/", "/.", "//./"])
def test_a_link_as_root_is_not_followed_however_it_is_written(root: Path, end: str) -> None:
    (root / "way").symlink_to(root / "home")
    with pytest.raises(RunError, match="is a link or no directory"):
        Tree(HERE).look(Place("home", f"{root}/way{end}", ("climate",)))
    assert Tree(HERE).look(Place("home", f"{root}/home{end}", ("climate",))) == Found()


def test_a_root_that_leads_into_the_system(root: Path) -> None:
    (root / "way").symlink_to("/usr")
    place = Place("p", f"{root}/way/share", ("climate",))
    with pytest.raises(InvalidJob, match="directory of the system"):
        Tree(HERE).make(place, None)  # type: ignore[arg-type]


def test_a_parent_that_is_swapped_during_the_change(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and making, the project's directory becomes a link: the descriptor stays where it was."""
    (root / "home/climate").mkdir()
    outside = root / "outside"
    outside.mkdir()
    real = os.mkdir

    def swap(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        (root / "home/climate").rename(root / "home/before")
        (root / "home/climate").symlink_to(outside)
        real(path, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", swap)
    place = Place("home", f"{root}/home", ("climate", "bob"), 0o700)
    tree = Tree(HERE)
    tree.make(place, Owner(1, 1))
    assert names(outside) == [] and names(root / "home/before") == ["bob"]
    with pytest.raises(RunError, match="is a link or no directory"):
        tree.look(place)


def test_a_part_of_a_path_cannot_climb(root: Path) -> None:
    """Identifiers cannot hold a slash or two dots; whoever builds a place by hand still stays below the root."""
    (root / "home/a").mkdir()
    assert Tree(HERE).look(Place("home", f"{root}/home", ("a", "b", "c"))) == Found()
    with pytest.raises(ValueError, match="single names"):
        Place("home", f"{root}/home", ("..", "projects"))


# --- who it is for ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "error", "reason"),
    [
        ("bob.climate.brics:nobody-yet:games", Unavailable, "user nobody-yet is not known"),
        ("bob.climate.brics:daemon:nogroup-yet", Unavailable, "group nogroup-yet is not known"),
        ("bob.climate.brics:root:games", InvalidJob, "superuser"),
        ("bob.climate.brics:daemon:root", InvalidJob, "superuser"),
        ("bob.climate.brics:bob@example.org:games", InvalidJob, "e-mail"),
    ],
)
async def test_owners_that_are_refused(
    leaf: Directories, root: Path, mapping: str, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        await answer(leaf, f"add_local_user {mapping}")
    assert names(root / "home") == names(root / "projects") == []


async def test_a_link_that_is_there_already_is_left(
    leaf: Directories, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "links/climate").symlink_to("/elsewhere")
    await answer(leaf, f"add_local_project {PROJECT}")
    assert "is left as it is" in caplog.text
    assert await answer(leaf, f"is_local_project_added {PROJECT}") is False
    await answer(leaf, f"remove_local_project {PROJECT}")
    assert (root / "links/climate").is_symlink()


async def test_a_directory_above_that_is_missing(root: Path) -> None:
    volume = {"roots": [f"{root}/home"], "subpath": "deep/{project}"}
    leaf = Directories(Volumes.of({"project_volumes": {"p": volume}}), {}, HERE)
    with pytest.raises(RunError, match="only the last part is ever made"):
        await answer(leaf, f"add_local_project {PROJECT}")


async def test_no_home_volume(root: Path) -> None:
    leaf = Directories(Volumes.of({}), {}, HERE)
    with pytest.raises(RunError, match="No user volume is the home volume"):
        await answer(leaf, f"get_local_home_dir {BOB}")


def test_settings_that_are_refused() -> None:
    with pytest.raises(ConfigError, match="exec-prefix is not supported"):
        Directories(Volumes.of({}), {"exec-prefix": "docker exec x"})
    with pytest.raises(ConfigError, match="directory of the system"):
        Directories(Volumes.of({"project_volumes": {"p": {"roots": ["/etc/x"]}}}), {})


async def test_many_at_once(leaf: Directories, root: Path) -> None:
    texts = [f"add_local_user u{n % 2}.p{n % 5}.brics:daemon:games" for n in range(40)]
    await asyncio.gather(*(answer(leaf, text) for text in texts))
    assert names(root / "home") == [f"p{n}" for n in range(5)]
    await asyncio.gather(*(answer(leaf, f"remove_local_project p{n % 5}.brics:games") for n in range(20)))
    assert names(root / "home") == [".recycle"]


NOT_ROOT = """
import os, sys
from openportal.agents.filesystem.directories import Owner, Tree
from openportal.agents.filesystem.volumes import Place
from openportal.errors import RunError
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Tree(()).make(Place("home", sys.argv[1], ("bob",)), Owner(1, 1))
except RunError as error:
    print(error)
"""


def test_not_root(root: Path) -> None:
    (root / "home").chmod(0o777)
    for above in root.parents:
        if above.as_posix().startswith("/tmp/"):
            above.chmod(0o755)
    root.chmod(0o755)
    repository = str(Path(__file__).parents[3])
    done = subprocess.run(
        (sys.executable, "-c", NOT_ROOT, f"{root}/home"),
        capture_output=True, text=True, check=True, cwd=repository,
    )  # fmt: skip
    assert "does not run as root" in done.stdout
