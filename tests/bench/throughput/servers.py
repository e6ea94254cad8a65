"""What the measured systems run on: private servers, programs that end by themselves, and what they take."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from report import shorten  # of the CSV benchmark

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
SERVERS = REPO / "tests/support/servers.sh"
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 60  # seconds for a program to start or to end


class Failed(Exception):
    """Something does not work here; the text goes into the table."""


def quietly(what, command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-3000:] + done.stderr[-3000:])
        raise Failed(f"{what} failed: {' '.join(map(str, command))}")
    return done.stdout


def wait_until(condition, what, seconds=PATIENCE, pause=0.02):
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise Failed(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(pause)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- what processes take ------------------------------------------------------------------------


def stat_of(pid):
    """The fields after the name: state is 0, parent 1, utime 11, stime 12, of ended children 13 and 14."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(roots):
    """The processes and all that descend from them, each once, with their stat fields."""
    stats = {int(entry): stat_of(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    children = {}
    for pid, fields in stats.items():
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found, rest = {}, list(roots)
    while rest:
        pid = rest.pop()
        if stats.get(pid) and pid not in found:
            found[pid] = stats[pid]
            rest += children.get(pid, [])
    return found


def cpu_seconds(roots):
    """User and system time, children that have ended and been waited for included."""
    return sum(int(field) for fields in family(roots).values() for field in fields[11:15]) / TICKS


def memory_of(pid):
    """(resident, PSS, private) in bytes. A page that n processes share counts as its nth part in PSS."""
    kilobytes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]:
        name, value = line.split()[:2]
        kilobytes[name] = int(value)
    private = kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"]
    return tuple(1024 * size for size in (kilobytes["Rss:"], kilobytes["Pss:"], private))


def memory_bytes(roots):
    """PSS of the processes and all that descend from them."""
    total = 0
    for pid in family(roots):
        try:
            total += memory_of(pid)[1]
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


# --- programs -----------------------------------------------------------------------------------


class Program:
    """A program that runs until stop(), its output in a file. It is killed when the benchmark dies."""

    def __init__(self, name, command, folder, environment=None, user=None):
        self.name = name
        self.log_path = folder / f"{name}.log"
        as_user = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []
        with open(self.log_path, "ab") as out:
            self.process = subprocess.Popen(["setpriv", *as_user, "--pdeathsig=KILL", *map(str, command)], cwd=folder,
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=environment, start_new_session=True)
        self.pid = self.process.pid

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, condition, what):
        def seen():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}: {self.log()[-1500:]}")
            return condition()

        return wait_until(seen, f"{self.name}: {what}")

    def wait_log(self, text):
        self.wait_for(lambda: text in self.log(), f"'{text}' in its log")

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def environment(**settings):
    """Nothing of the caller's shell but what a program needs to run at all."""
    keep = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")
    found = {name: os.environ[name] for name in keep if name in os.environ}
    found.update({name: str(value) for name, value in settings.items()})
    return found


def run_json(what, command, **options):
    """The JSON that a program prints as its last line."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, **options)
    if done.returncode != 0:
        raise Failed(f"{what}: exit code {done.returncode}: {shorten(done.stderr or done.stdout, 300)}")
    return json.loads(done.stdout.strip().splitlines()[-1])


# --- servers ------------------------------------------------------------------------------------


class Shell:
    """A database's own command line client, kept open: a statement in, rows out."""

    END = "--end--"

    def __init__(self, command, env=None):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, env=env)

    def rows(self, statement):
        self.process.stdin.write(f"{statement};\nSELECT '{self.END}';\n")
        self.process.stdin.flush()
        found = []
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if line == self.END:
                return found
            if line.startswith("ERROR"):
                raise Failed(f"{statement[:80]}: {line}")
            found.append(line.split("\t"))
        raise Failed(f"{statement[:80]}: the client ended: {found[-1:]}")

    def value(self, statement):
        found = self.rows(statement)
        return found[0][0] if found else None

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)


class MariaDB:
    """The server of tests/support/servers.sh with the two sizes that Debian's package sets by default."""

    NAME = "mariadb"
    SIZES = ("innodb_buffer_pool_size = 134217728", "innodb_log_file_size = 100663296")

    def __init__(self, folder):
        self.folder = folder
        self.url = quietly("MariaDB", [SERVERS, "start", "mariadb", folder]).strip().split("=", 1)[1]
        self.port = int((folder / "mariadb/port").read_text(encoding="utf-8"))
        self.roots = [int((folder / "mariadb/pid").read_text(encoding="utf-8").split()[0])]
        root = ["mariadb", "--no-defaults", "-u", "root", f"--socket={folder}/mariadb/data/mariadb.sock"]
        for size in self.SIZES:
            quietly("MariaDB", [*root, "-e", f"SET GLOBAL {size}"])
        self.sql = self.shell()

    def shell(self):
        command = ["mariadb", "--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", self.port, "-u", "segue",
                   "--skip-ssl", "-BNn", "segue_test"]
        return Shell(command, dict(os.environ, MYSQL_PWD="segue"))

    def settings(self):
        names = "innodb_flush_log_at_trx_commit", "innodb_doublewrite", "innodb_buffer_pool_size"
        return "MariaDB " + self.sql.value("SELECT VERSION()").split("-")[0] + " " + ", ".join(
            f"{name}={self.sql.value(f'SELECT @@{name}')}" for name in names)

    def stop(self):
        self.sql.close()


class RabbitMQ:
    NAME = "rabbitmq"

    def __init__(self, folder):
        self.folder = folder
        self.url = quietly("RabbitMQ", [SERVERS, "start", "rabbitmq", folder]).strip().split("=", 1)[1]
        self.roots = [int((folder / f"rabbitmq/{name}").read_text(encoding="utf-8").split()[0])
                      for name in ("pid", "epmd.pid")]

    def queues(self):
        """name -> (type, durable, ready messages)"""
        text = quietly("rabbitmqctl", [SERVERS, "rabbitmqctl", self.folder, "-q", "list_queues", "--no-table-headers",
                                       "name", "type", "durable", "messages"])
        return {row[0]: row[1:] for row in (line.split("\t") for line in text.splitlines()) if len(row) == 4}

    def settings(self):
        version = quietly("dpkg-query", ["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"]).split("-")[0]
        return f"RabbitMQ {version} " + ", ".join(
            f"queue {name}: {kind.split('_')[-1]}, {'durable' if durable == 'true' else 'NOT durable'}"
            for name, (kind, durable, _) in sorted(self.queues().items()) if "celeryev" not in name and "pidbox" not in name)

    def stop(self):
        pass  # with the folder: end_servers


def end_servers(folder):
    """Ends what servers.sh started below the folder."""
    quietly("ending the servers", [SERVERS, "stop", folder])


class Redis:
    """Append-only file, written to disk before each answer (always) or once a second (everysec)."""

    def __init__(self, folder, fsync):
        self.port = free_port()
        home = folder / "redis"
        home.mkdir()
        self.program = Program("redis-server", [
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", home, "--appendonly", "yes",
            "--appendfsync", fsync, "--save", "", "--maxmemory-policy", "noeviction"], home)
        self.program.wait_for(lambda: is_open(self.port), "to listen")
        self.roots = [self.program.pid]
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.file = self.socket.makefile("rb")
        self.program.wait_for(lambda: self.call("PING") == "PONG", "to answer")

    def call(self, *words):
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(word), word) for word in (str(word).encode() for word in words)))
        return self.answer()

    def answer(self):
        line = self.file.readline().rstrip(b"\r\n").decode()
        kind, rest = line[:1], line[1:]
        if kind == "$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == "*":
            return [self.answer() for _ in range(int(rest))]
        return int(rest) if kind == ":" else rest

    def settings(self):
        found = [self.call("CONFIG", "GET", name) for name in ("appendonly", "appendfsync")]
        version = self.call("INFO", "server").split("redis_version:")[1].split()[0]
        return f"Redis {version} " + ", ".join(f"{name}={value}" for name, value in found)

    def stop(self):
        self.socket.close()
        self.program.stop()


class PostgreSQL:
    """A cluster as initdb makes it. It refuses to run as root: then it runs as the user `postgres`."""

    def __init__(self, folder):
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        if not programs:
            raise Failed("PostgreSQL is not installed")
        self.bin = programs[-1]
        self.port = free_port()
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        home = folder / "postgresql"
        home.mkdir()
        if user:
            for above in (folder, folder.parent):  # as mkdtemp makes them, nobody else may pass
                os.chmod(above, 0o711)
            os.chown(home, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []
        quietly("initdb", [*as_user, self.bin / "initdb", "-D", home / "data", "-U", "segue", "-A", "trust", "-E", "UTF8",
                           "--locale=C.UTF-8"], cwd=home)
        self.program = Program("postgres", [
            self.bin / "postgres", "-D", home / "data", "-p", self.port, "-k", home,
            "-c", "listen_addresses=127.0.0.1"], home, user=user)
        self.roots = [self.program.pid]
        self.url = f"postgres://segue@127.0.0.1:{self.port}/postgres"
        self.program.wait_log("database system is ready to accept connections")
        self.sql = Shell(["psql", "-AtXq", "-F", "\t", self.url])

    def settings(self):
        names = "fsync", "synchronous_commit", "full_page_writes"
        return "PostgreSQL " + self.sql.value("SHOW server_version").split()[0] + " " + ", ".join(
            f"{name}={self.sql.value(f'SHOW {name}')}" for name in names)

    def stop(self):
        self.sql.close()
        self.program.stop(signal.SIGINT)


def clear(folder):
    shutil.rmtree(folder, ignore_errors=True)
