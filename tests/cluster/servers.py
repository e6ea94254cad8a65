"""servers.py - three MariaDB Galera nodes and three RabbitMQ nodes on loopback ports of their own.

Everything lives below one folder. The processes die with this program, whatever becomes of it
(PR_SET_PDEATHSIG, which is about the thread that started them: start them in the main one); a
node is killed as a machine dies, and comes back with its data.
"""

import contextlib
import getpass
import json
import os
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PATIENCE = 180  # seconds; what should happen soon has happened by then
PROVIDERS = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib/libgalera_smm.so")
RABBITMQ_BIN = Path("/usr/lib/rabbitmq/bin")  # the ones in PATH insist on root or rabbitmq
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
USER, PASSWORD, DATABASE = "segue", "segue", "segue_cluster"


class Trouble(Exception):
    """The run cannot go on."""


def wait_until(condition, what, seconds=PATIENCE, every=0.05):
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise Trouble(f"waited {seconds} s in vain: {what}")
        time.sleep(every)
    return value


taken = set()


def free_port():
    """Below the range that the kernel hands out by itself."""
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in taken:
                taken.add(port)
                return port
    raise Trouble("no free port")


def missing_tools():
    found = {tool: shutil.which(tool, path=PATH) for tool in
             ("mariadbd", "mariadb", "mariadb-install-db", "wsrep_sst_rsync", "rsync", "epmd",
              "haproxy", "setpriv")}
    found["galera-4"] = any(Path(p).exists() for p in PROVIDERS)
    found["rabbitmq-server"] = (RABBITMQ_BIN / "rabbitmq-server").exists()
    return [tool for tool, path in found.items() if not path]


class Process:
    """A program with its output in a file."""

    become = ()  # options of setpriv

    def __init__(self, name, folder):
        self.name, self.folder, self.process = name, folder, None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / f"{name}.log"

    def launch(self, *command, env=None):
        with open(self.log_path, "ab") as out:
            self.process = subprocess.Popen(
                ["setpriv", *self.become, "--pdeathsig", "KILL", *map(str, command)],
                cwd=self.folder,
                env={**(env or os.environ), "PATH": PATH}, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True)

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def kill(self):
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def signal(self, number):
        if self.is_alive():
            self.process.send_signal(number)

    def stop(self, seconds=30):
        self.signal(signal.SIGTERM)
        try:
            if self.process is not None:
                self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_for(self, condition, what):
        def seen():
            if not self.is_alive():
                raise Trouble(f"{self.name} ended: {self.log()[-3000:]}")
            return condition()
        return wait_until(seen, f"{self.name}: {what}")


# --- Galera -----------------------------------------------------------------------------------


def server_user():
    """Not root: rsync's daemon, which brings a node the data of another, would become nobody."""
    return "mysql" if os.geteuid() == 0 else getpass.getuser()


class GaleraNode(Process):
    def __init__(self, cluster, number):
        super().__init__(f"galera{number}", cluster.folder / f"galera{number}")
        self.cluster, self.number = cluster, number
        self.port, self.group_port, self.ist_port, self.sst_port = (free_port() for _ in range(4))
        for name in ("tmp", "data"):
            (self.folder / name).mkdir()
        if os.geteuid() == 0:
            user = pwd.getpwnam(server_user())
            self.become = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
            for path in (self.folder, self.folder / "tmp", self.folder / "data"):
                os.chown(path, user.pw_uid, user.pw_gid)

    @property
    def url(self):
        return f"mysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def configure(self):
        provider = next(p for p in PROVIDERS if Path(p).exists())
        nodes = ",".join(f"127.0.0.1:{n.group_port}" for n in self.cluster.nodes)
        options = (f"gmcast.listen_addr=tcp://127.0.0.1:{self.group_port};"
                   f"ist.recv_addr=127.0.0.1:{self.ist_port};gcache.size=128M")
        (self.folder / "my.cnf").write_text(f"""[mariadbd]
datadir = {self.folder}/data
tmpdir = {self.folder}/tmp
socket = {self.folder}/mariadb.sock
pid-file = {self.folder}/server.pid
bind-address = 127.0.0.1
port = {self.port}
skip-name-resolve
character-set-server = utf8mb4
collation-server = utf8mb4_bin
innodb-flush-log-at-trx-commit = 1
innodb-buffer-pool-size = 64M
innodb-log-file-size = 16M
performance-schema = OFF
max-connections = 200
binlog-format = ROW
default-storage-engine = InnoDB
innodb-autoinc-lock-mode = 2
wsrep-on = ON
wsrep-provider = {provider}
wsrep-cluster-name = segue
wsrep-cluster-address = gcomm://{nodes}
wsrep-node-name = {self.name}
wsrep-node-address = 127.0.0.1:{self.group_port}
wsrep-provider-options = "{options}"
wsrep-sst-method = rsync
wsrep-sst-receive-address = 127.0.0.1:{self.sst_port}
wsrep-slave-threads = 2
{self.cluster.settings}
""")

    def install(self):
        with open(self.folder / "install.log", "wb") as out:
            done = subprocess.run(
                ["mariadb-install-db", "--no-defaults", f"--user={server_user()}",
                 f"--datadir={self.folder}/data", "--auth-root-authentication-method=normal",
                 "--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=16M"],
                stdout=out, stderr=out, check=False,  # in a TMPDIR that no other server tidies up
                env={**os.environ, "PATH": PATH, "TMPDIR": f"{self.folder}/tmp"})
        if done.returncode:
            raise Trouble((self.folder / "install.log").read_text()[-3000:])

    def start(self, *options):
        self.launch("mariadbd", f"--defaults-file={self.folder}/my.cnf", *options)

    def restart(self):
        """After a kill: first find out how far it came, as galera_recovery does."""
        done = subprocess.run(
            ["setpriv", *self.become, "mariadbd", f"--defaults-file={self.folder}/my.cnf",
             "--wsrep-recover", "--log-error="], env={**os.environ, "PATH": PATH}, capture_output=True, text=True,
            check=False, timeout=PATIENCE)
        found = re.findall(r"Recovered position:\s*(\S+)", done.stderr + done.stdout)
        self.start(*(f"--wsrep-start-position={found[-1]}" for _ in found[-1:]))

    def sql(self, text, seconds=20):
        """By root; the rows as lists of texts, or None when the node does not serve."""
        try:
            done = subprocess.run(
                ["mariadb", "--no-defaults", "-u", "root", "-S", f"{self.folder}/mariadb.sock",
                 "--connect-timeout=2", "-N", "-B", "-e", text], capture_output=True, text=True,
                check=False, timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            return None
        return [line.split("\t") for line in done.stdout.splitlines()]

    def status(self, name):
        rows = self.sql(f"SHOW GLOBAL STATUS LIKE '{name}'")
        return rows[0][1] if rows else None

    def is_synced(self):
        return self.status("wsrep_local_state_comment") == "Synced" and \
            self.status("wsrep_ready") == "ON"

    def wait_synced(self):
        self.wait_for(self.is_synced, "to be synced")

    wait_back = wait_synced


class Galera:
    def __init__(self, folder, settings=""):
        self.folder, self.settings = folder, settings
        self.nodes = [GaleraNode(self, i + 1) for i in range(3)]

    def start(self):
        for node in self.nodes:
            node.configure()
        first = self.nodes[0]
        first.install()
        first.start("--wsrep-new-cluster")
        first.wait_synced()
        made = first.sql(
            f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';"
            f"GRANT ALL ON `segue\\_%`.* TO '{USER}'@'127.0.0.1'; {fresh(DATABASE)}")
        if made is None:
            raise Trouble(f"no database: {first.log()[-2000:]}")
        for node in self.nodes[1:]:  # one after the other: each takes the data of one that has it
            node.start()
            node.wait_synced()

    def count(self, name):
        """The sum of a status variable over the nodes that answer."""
        return sum(int(node.status(name) or 0) for node in self.nodes if node.is_alive())

    def stop(self):
        for node in reversed(self.nodes):
            node.stop()


def fresh(database):
    return (f"DROP DATABASE IF EXISTS {database};"
            f"CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;")


# --- RabbitMQ ---------------------------------------------------------------------------------


class RabbitNode(Process):
    def __init__(self, cluster, number):
        super().__init__(f"rabbit{number}", cluster.folder / f"rabbit{number}")
        self.cluster, self.node_name = cluster, f"segue{cluster.tag}n{number}@localhost"
        self.port, self.dist_port = free_port(), free_port()

    @property
    def url(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def configure(self):
        peers = "".join(f"cluster_formation.classic_config.nodes.{i + 1} = {n.node_name}\n"
                        for i, n in enumerate(self.cluster.nodes))
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nnum_acceptors.tcp = 2\n"
            "disk_free_limit.absolute = 50MB\nlog.file.level = info\n"
            "cluster_formation.peer_discovery_backend = classic_config\n"
            "cluster_partition_handling = pause_minority\n" + peers)
        (self.folder / "enabled_plugins").write_text("[].")
        (self.folder / "env.conf").write_text("")

    def environment(self):
        at, loopback = self.folder, "-kernel inet_dist_use_interface {127,0,0,1}"
        return {**{k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "ERL_LIBS")},
                "HOME": str(self.cluster.folder), "ERL_EPMD_PORT": str(self.cluster.epmd_port),
                "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_NODENAME": self.node_name,
                "RABBITMQ_DIST_PORT": str(self.dist_port),
                "RABBITMQ_CONF_ENV_FILE": f"{at}/env.conf",
                "RABBITMQ_CONFIG_FILE": f"{at}/rabbitmq.conf",
                "RABBITMQ_CONFIG_FILES": f"{at}/conf.d/*.conf",
                "RABBITMQ_ADVANCED_CONFIG_FILE": f"{at}/advanced.config",
                "RABBITMQ_ENABLED_PLUGINS_FILE": f"{at}/enabled_plugins",
                "RABBITMQ_MNESIA_BASE": f"{at}/mnesia", "RABBITMQ_LOG_BASE": str(at),
                "RABBITMQ_LOGS": f"{at}/server.log",
                "RABBITMQ_GENERATED_CONFIG_DIR": f"{at}/generated",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                    f"{loopback} +sbwt none +sbwtdcpu none +sbwtdio none",
                "RABBITMQ_CTL_ERL_ARGS": loopback,
                "RUNNING_UNDER_SYSTEMD": "true",  # the script execs: the pid is then Erlang's
                "PATH": PATH}

    def start(self):
        self.launch(RABBITMQ_BIN / "rabbitmq-server", env=self.environment())

    restart = start

    def serves(self):
        """It answers the protocol header with a method frame (first byte 1)."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                s.settimeout(2)
                s.sendall(b"AMQP\0\0\x09\x01")
                return s.recv(1) == b"\x01"
        except OSError:
            return False

    def wait_serving(self):
        self.wait_for(self.serves, "to serve")

    wait_back = wait_serving

    def control(self, *words):
        done = subprocess.run([RABBITMQ_BIN / "rabbitmqctl", "-q", *words], capture_output=True,
                              text=True, check=False, env=self.environment(), timeout=PATIENCE)
        return done.stdout if done.returncode == 0 else None


class Rabbit:
    def __init__(self, folder):
        self.folder, self.epmd_port = folder, free_port()
        self.tag = secrets.token_hex(3)
        self.epmd = Process("epmd", folder)
        self.nodes = [RabbitNode(self, i + 1) for i in range(3)]

    def start(self):
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        self.epmd.launch("epmd", "-port", self.epmd_port, "-address", "127.0.0.1")
        for node in self.nodes:
            node.configure()
        for node in self.nodes:
            node.start()

    def wait_formed(self):
        for node in self.nodes:
            node.wait_serving()
        wait_until(lambda: len(self.members()) == 3, "three RabbitMQ nodes in one cluster")

    def members(self):
        said = self.nodes[0].control("cluster_status", "--formatter", "json")
        return json.loads(said)["running_nodes"] if said else []

    def queue(self, name, columns=("leader", "members", "online")):
        """What a node that lives says of segue's queue."""
        for node in self.nodes:
            said = node.is_alive() and node.control("list_queues", "name", *columns,
                                                    "--formatter", "json")
            for row in json.loads(said) if said else []:
                if row["name"] == name:
                    return row
        return None

    def leader(self, queue):
        row = self.queue(queue)
        return next((n for n in self.nodes if row and n.node_name == row.get("leader")), None)

    def stop(self):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda n: n.stop(), self.nodes))
        self.epmd.stop()
