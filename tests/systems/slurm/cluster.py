"""A whole Slurm on this machine: slurmctld, slurmdbd, two slurmd with fake GPUs, slurmrestd, MariaDB and munge.

    network namespace            loopback (every daemon), and a pair of interfaces to us for slurmrestd's TCP port
    mount namespace              an overlay on a root of `roots`, so that nothing of it is ever changed
    process namespace            one process to end: everything else ends with it, and it ends with us

Programs run inside by `nsenter` and `chroot`; `prefix` is what stands before a command, also in an agent's file. The
folder `shared` is at the same path inside and outside. Daemons are started, ended and held (as if they hung) by name.
"""

from __future__ import annotations

import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NAME = "testcl"
HOST = "ctl"
NODES = ("n1", "n2")
NODE_CPUS, NODE_MEMORY_MB, NODE_GPUS = 64, 128_000, 4
REST_PORT = 6820
START_SECONDS = 60.0
RUN_SECONDS = 60.0
POLL_SECONDS = 0.05
SETTLE_SECONDS = 2.0
AGAIN_SECONDS = 300.0  # slurmctld takes its time with a job that was put back
USERS = (("alice", 5001), ("bob", 5002))
GROUP, GROUP_ID = "users", 100

INIT = """
mount --make-rprivate /
mount -t overlay slurm -o lowerdir={root},upperdir={folder}/upper,workdir={folder}/work {folder}/root
mount -t proc proc {folder}/root/proc
mount --rbind /sys {folder}/root/sys
mount --rbind /dev {folder}/root/dev
mkdir -p {folder}/root{shared}
mount --bind {shared} {folder}/root{shared}
hostname {host}
ip link set lo up
touch {folder}/mounted
while :; do sleep 3600 & wait; done
"""

AUTH = """\
AuthType=auth/munge
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=/etc/slurm/jwt.key
SlurmUser=slurm
"""

SLURM_CONF = (
    AUTH
    + f"""\
ClusterName={NAME}
SlurmctldHost={HOST}(127.0.0.1)
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/spool/slurmd.%n
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.%n.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.%n.log
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/linux
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
PriorityType=priority/multifactor
PriorityDecayHalfLife=0
PriorityUsageResetPeriod=NONE
PriorityCalcPeriod=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStorageEnforce=associations,limits,qos,safe
AccountingStorageTRES=gres/gpu
SlurmdParameters=config_overrides
"""
    + "".join(
        f"NodeName={name} NodeHostname={HOST} NodeAddr=127.0.0.1 Port={17001 + number} CPUs={NODE_CPUS} "
        f"RealMemory={NODE_MEMORY_MB} Gres=gpu:{NODE_GPUS} State=UNKNOWN\n"
        for number, name in enumerate(NODES)
    )
    + f"PartitionName=main Nodes={','.join(NODES)} Default=YES State=UP DefMemPerCPU=1000 "
    "TRESBillingWeights=CPU=1.0,Mem=0.25G,GRES/gpu=16.0\n"
)

SLURMDBD_CONF = (
    AUTH
    + f"""\
DbdHost={HOST}
DbdAddr=127.0.0.1
LogFile=/var/log/slurm/slurmdbd.log
PidFile=/run/slurm/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=pw
StorageLoc=slurm_acct_db
"""
)

MARIADB = (
    "mariadbd --no-defaults --user=mysql --datadir=/var/lib/mysql --socket=/run/mysqld/mysqld.sock --skip-networking "
    "--innodb-buffer-pool-size=128M --innodb-log-file-size=64M --innodb-lock-wait-timeout=900 "
    "--innodb-flush-log-at-trx-commit=0 --performance-schema=0 --pid-file=/run/mysqld/mysqld.pid"
)

DATABASE = (
    "CREATE DATABASE slurm_acct_db; CREATE USER slurm@localhost IDENTIFIED BY 'pw'; "
    "GRANT ALL ON slurm_acct_db.* TO slurm@localhost"
)

PREPARE = f"""
set -eu
install -d -o slurm -g slurm /run/slurm /var/log/slurm /var/lib/slurm/slurmctld
install -d -o munge -g munge -m 0700 /etc/munge /var/log/munge /var/lib/munge
install -d -o munge -g munge -m 0755 /run/munge
dd if=/dev/urandom of=/etc/munge/munge.key bs=128 count=1 status=none
chown munge /etc/munge/munge.key; chmod 400 /etc/munge/munge.key
chown slurm /etc/slurm/slurmdbd.conf /etc/slurm/jwt.key; chmod 600 /etc/slurm/slurmdbd.conf /etc/slurm/jwt.key
mkdir -p /opt/fake
for i in $(seq 0 {NODE_GPUS - 1}); do mknod /opt/fake/gpu$i c 1 3; done
getent passwd mysql >/dev/null || useradd --system --no-create-home --shell /bin/false mysql
install -d -o mysql -g mysql /run/mysqld /var/lib/mysql
mariadb-install-db --no-defaults --user=mysql --datadir=/var/lib/mysql --auth-root-authentication-method=socket \
  --skip-test-db --innodb-log-file-size=64M >/var/log/slurm/install-db.log 2>&1
"""

DAEMONS = {
    "munged": "runuser -u munge -- munged",
    "mariadbd": MARIADB,
    "slurmdbd": "MYSQL_UNIX_PORT=/run/mysqld/mysqld.sock runuser -u slurm -- slurmdbd -D",
    "slurmctld": "runuser -u slurm -- slurmctld -D",
    "slurmrestd": "SLURM_JWT=daemon runuser -u nobody -- slurmrestd -a rest_auth/jwt 0.0.0.0:6820 unix:{socket}",
    **{f"slurmd-{name}": f"slurmd -D -N {name}" for name in NODES},
}
PROCESS = {"slurmd-n1": "slurmd -D -N n1", "slurmd-n2": "slurmd -D -N n2"}


class Cluster:
    """One Slurm of the version whose root is given; `start`, then use, then `stop`."""

    def __init__(self, folder: Path, root: Path, version: str) -> None:
        self.folder = folder.absolute()
        self.version = version
        self._root = root
        self._outer: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self.rest_address = ""

    @property
    def shared(self) -> Path:
        """A folder that is at the same path inside."""
        return self.folder / "shared"

    @property
    def rest_socket(self) -> Path:
        return self.shared / "rest" / "socket"

    @property
    def prefix(self) -> str:
        """What stands before a command to run it inside."""
        return f"nsenter -t {self._pid} -m -u -n -p chroot {self.folder / 'root'}"

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring everything up. Raises RuntimeError, with logs, for what does not come."""
        for name in ("upper", "work", "root", "shared", "shared/rest", "shared/tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._enter()
        self._configure()
        self.shell(PREPARE)
        self.daemon("munged")
        self.daemon("mariadbd", lambda: self.ok("mariadb -S /run/mysqld/mysqld.sock -e 'select 1'"))
        self.shell(f'mariadb -S /run/mysqld/mysqld.sock -e "{DATABASE}"')
        self.daemon("slurmdbd", self.dbd_answers)
        self.shell(f"sacctmgr -i add cluster {NAME}")
        self.daemon("slurmctld", self.ctld_answers)
        for node in NODES:
            self.daemon(f"slurmd-{node}")
        self.daemon("slurmrestd", self.rest_socket.exists)
        self._wait("both nodes idle", lambda: self.shell("sinfo -h -t idle -o %D").strip() == str(len(NODES)))

    def stop(self) -> None:
        """End everything."""
        if self._outer is not None:
            self._outer.kill()
            self._outer.wait()
            self._outer = None

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _enter(self) -> None:
        script = INIT.format(root=self._root, folder=self.folder, shared=self.shared, host=HOST)
        unshare = shlex.split("setpriv --pdeathsig KILL unshare -m -u -n -p -f --kill-child --propagation private")
        with (self.folder / "init.log").open("ab") as log:
            self._outer = subprocess.Popen(
                [*unshare, "bash", "-ec", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait("the namespaces", (self.folder / "mounted").exists)
        outer = self._outer.pid
        self._pid = int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])
        self._join_network()

    def _join_network(self) -> None:
        """A pair of interfaces between us and the cluster; it goes with the namespace."""
        number = self._pid % 16_384
        network = f"10.77.{number // 64}"
        ours, theirs = number % 64 * 4 + 1, number % 64 * 4 + 2
        link = f"slurm{self._pid}"
        ip = ["nsenter", "-t", str(self._pid), "-n", "ip"]
        for command in (
            ["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(self._pid)],
            ["ip", "addr", "add", f"{network}.{ours}/30", "dev", link],
            ["ip", "link", "set", link, "up"],
            [*ip, "addr", "add", f"{network}.{theirs}/30", "dev", "eth0"],
            [*ip, "link", "set", "eth0", "up"],
        ):
            subprocess.run(command, check=True)
        self.rest_address = f"{network}.{theirs}"

    def _configure(self) -> None:
        users = "".join(f"{name}:x:{uid}:{GROUP_ID}::/tmp:/bin/bash\n" for name, uid in USERS)
        self.write("/etc/passwd", (self._root / "etc/passwd").read_text() + users)
        self.write("/etc/hosts", f"127.0.0.1 localhost {HOST} {' '.join(NODES)}\n")
        self.write("/etc/slurm/slurm.conf", SLURM_CONF)
        self.write("/etc/slurm/slurmdbd.conf", SLURMDBD_CONF)
        self.write("/etc/slurm/jwt.key", secrets.token_hex(32))
        self.write("/etc/slurm/gres.conf", f"AutoDetect=off\nName=gpu File=/opt/fake/gpu[0-{NODE_GPUS - 1}]\n")
        plugin = "CgroupPlugin=disabled\n" if self.version >= "23" else "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"
        self.write("/etc/slurm/cgroup.conf", plugin)

    # --- programs and files inside -----------------------------------------------------------------------------------

    def write(self, path: str, text: str) -> None:
        """A file inside."""
        self._run(["sh", "-c", f"mkdir -p $(dirname {path}); cat > {path}"], text)

    def shell(self, command: str, user: str | None = None) -> str:
        """What a shell command prints inside. Raises RuntimeError if it fails."""
        as_user = ["runuser", "-u", user, "--"] if user else []
        return self._run([*as_user, "sh", "-c", command])

    def ok(self, command: str) -> bool:
        try:
            self.shell(command)
        except (RuntimeError, subprocess.TimeoutExpired):
            return False
        return True

    def _run(self, command: Sequence[str], text: str = "") -> str:
        done = subprocess.run(
            [*shlex.split(self.prefix), *command], input=text, capture_output=True, text=True, timeout=RUN_SECONDS,
            check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    # --- jobs --------------------------------------------------------------------------------------------------------

    def start_again(self, job: str | int) -> None:
        """Let a job that was requeued begin its next attempt now rather than in two minutes.

        For a second a node takes the new attempt for the one that was killed, and Slurm then ends the job as failed
        ("Job credential revoked"). A requeue may also put off what was set before it was through, so it is set until it
        holds.
        """

        def is_waiting() -> bool:
            return "JobState=PENDING" in self.shell(f"scontrol show job {job}")

        def has_begun() -> bool:
            self.ok(f"scontrol update jobid={job} StartTime=now")
            return not is_waiting()

        self._wait(f"the requeue of job {job}", is_waiting)
        time.sleep(SETTLE_SECONDS)
        self._wait(f"the next attempt of job {job}", has_begun, AGAIN_SECONDS)

    # --- daemons -----------------------------------------------------------------------------------------------------

    def daemon(self, name: str, ready: Callable[[], bool] | None = None) -> None:
        """Start a daemon and wait until it is ready."""
        if name == "slurmrestd":
            self.shell(f"chown nobody {self.rest_socket.parent}; rm -f {self.rest_socket}")
        command = DAEMONS[name].format(socket=self.rest_socket)
        self.shell(f"{command} >>/var/log/slurm/{name}.out 2>&1 </dev/null &")
        self._wait(name, ready or (lambda: self.pids(name) != []))

    def pids(self, name: str) -> list[str]:
        """The processes of a daemon, inside."""
        return self.shell(f"pgrep -f '^{PROCESS.get(name, name)}' || true").split()

    def signal(self, name: str, number: str) -> None:
        """Send a signal to a daemon: STOP holds it as if it hung, CONT lets it go on, KILL ends it."""
        self.shell(f"kill -{number} {' '.join(self.pids(name))}")
        if number == "KILL":
            self._wait(f"the end of {name}", lambda: self.pids(name) == [])

    @contextmanager
    def without(self, name: str, ready: Callable[[], bool]) -> Iterator[None]:
        """A while in which a daemon is not there; `ready` tells that it is back."""
        self.signal(name, "KILL")
        try:
            yield
        finally:
            self.daemon(name, ready)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """A while in which a daemon takes connections and says nothing."""
        self.signal(name, "STOP")
        try:
            yield
        finally:
            self.signal(name, "CONT")

    def dbd_answers(self) -> bool:
        return self.ok("timeout 5 sacctmgr -nP show cluster </dev/null")

    def ctld_answers(self) -> bool:
        return self.ok("timeout 5 scontrol ping | grep -q UP")

    def log(self, name: str) -> str:
        """The end of a daemon's logs."""
        return self.shell(f"tail -n 40 /var/log/slurm/{name}*").strip()

    def _wait(self, what: str, done: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        until = time.monotonic() + seconds
        while not done():
            if time.monotonic() > until:
                logs = self.ok("true") and self.shell("tail -n 30 /var/log/slurm/* 2>&1")
                raise RuntimeError(f"{what} did not come within {seconds:.0f} s:\n{logs}")
            time.sleep(POLL_SECONDS)
