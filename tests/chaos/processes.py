"""processes.py - everything a run starts: servers, daemons, the links between them; and ends.

Daemons are started, watched and signalled by one thread. They die with this program, whatever
becomes of it (PR_SET_PDEATHSIG); a guard process stops the servers then.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

import support
from support import SANITIZED, BIN, REPO, children, clean_environment
from tcp_proxy import Proxy, ProxyServer

LEASE_MS = 2500
RESTART_PAUSE = 0.2  # of a daemon that ended by itself
PATIENCE = 360 if SANITIZED else 120  # seconds; what should happen soon has happened by then
SERVERS_SH = REPO / "tests/support/servers.sh"


class Trouble(Exception):
    """The run cannot go on; what it is about is no promise of Segue's or broken for all."""


def wait_until(condition, what, seconds=PATIENCE, meanwhile=lambda: None, every=0.05):
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise Trouble(f"waited {seconds} s in vain: {what}")
        meanwhile()
        time.sleep(every)
    return value


# --- MariaDB and RabbitMQ ---------------------------------------------------------------------


class Servers:
    """Private ones below `folder`, for all runs of this program."""

    def __init__(self, folder):
        self.folder, self.urls, self.jobs, self.calls = folder, {}, [], []
        self.guard = subprocess.Popen(
            ["sh", "-c", 'cat >/dev/null; "$0" stop "$1" 2>/dev/null', SERVERS_SH, folder],
            stdin=subprocess.PIPE, start_new_session=True)
        try:
            starts = [(name, self._spawn("start", name)) for name in ("mariadb", "rabbitmq")]
            for name, start in starts:
                said, complaint = start.communicate(timeout=300)
                if start.returncode:
                    raise Trouble(f"{name} does not start: {complaint}")
                self.urls[name] = said.strip().split("=", 1)[1]
        except BaseException:
            self.close()
            raise

    def _spawn(self, *words):
        call = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", SERVERS_SH, *words,
                                 self.folder], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, start_new_session=True)
        self.calls.append(call)
        return call

    def run(self, *words):
        process = self._spawn(*words)
        _, complaint = process.communicate(timeout=300)
        if process.returncode:
            raise Trouble(f"servers.sh {' '.join(words)}: {complaint}")

    def start_job(self, job):
        """Runs it beside; join_jobs waits for all and raises what went wrong."""
        def guarded():
            try:
                job()
            except Exception as error:  # pylint: disable=broad-except
                box.append(error)
        box = []
        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        self.jobs.append((thread, box))

    def join_jobs(self):
        for thread, box in self.jobs:
            thread.join(400)
            if thread.is_alive() or box:
                raise Trouble(f"a server does not come back: {box or 'too slow'}")
        self.jobs = []

    def pid(self, name):
        return int((self.folder / name / "pid").read_text().split()[0])

    def thaw(self):
        for name in ("mariadb", "rabbitmq"):
            try:
                os.kill(self.pid(name), signal.SIGCONT)
            except OSError:
                pass  # it is down

    def rabbitmqctl(self, *words):
        return _works([SERVERS_SH, "rabbitmqctl", self.folder, *words])

    def has_lost_queue(self, name):
        """Killed soon after a quorum queue was declared, RabbitMQ 3.10 may come back with a
        queue that takes and gives nothing for ever: it is its own only member and finds no
        leader."""
        log = (self.folder / "rabbitmq/server.log").read_text(errors="replace")
        told = re.findall(rf"segue\.{name}'.*(candidate -> leader|leader not known)", log)
        return told[-1:] == ["leader not known"]

    def root_sql(self, text):
        """By the server's administrator, who is above its limits; True when it worked."""
        return _works(["mariadb", "--no-defaults", "-u", "root", "-S",
                       self.folder / "mariadb/data/mariadb.sock", "-e", text])

    def close(self):
        for call in self.calls:  # whatever is just being started
            if call.poll() is None:
                call.kill()
                call.wait()
        self.guard.stdin.close()
        self.guard.wait()


def _works(command):
    try:
        return subprocess.run(command, check=False, capture_output=True,
                              timeout=PATIENCE).returncode == 0
    except subprocess.TimeoutExpired:
        return False


# --- task_manager and data_processor ----------------------------------------------------------


class Daemon:
    """One place in the cluster where a daemon shall run, again and again."""

    def __init__(self, cluster, program, name, settings):
        self.cluster, self.program, self.name, self.settings = cluster, program, name, settings
        self.log_path = cluster.folder / f"{name}.log"
        self.process, self.wanted, self.frozen = None, False, False
        self.term_at, self.killed, self.start_at, self.log_from = None, False, 0, 0
        self.base = None  # what an idle one uses: file descriptors, bytes
        self.links = []   # of a manager: those that lead to it, on whatever port it listens
        self.port = 0

    def launch(self):
        with open(self.log_path, "ab") as out:
            self.log_from = out.tell()
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", BIN / self.program], cwd=self.cluster.folder,
                env=clean_environment(self.settings), stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True)
        self.wanted, self.term_at, self.killed = True, None, False
        self.cluster.history.note("start", name=self.name, pid=self.process.pid)

    @property
    def pid(self):
        return self.process.pid

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        if self.is_alive():
            self.process.send_signal(number)

    def kill(self):
        """And stays down until somebody wants it again."""
        self.wanted, self.killed = False, True
        self.signal(signal.SIGKILL)
        self.lead_links(0)

    def terminate(self):
        """Ends in good order and is started again."""
        self.term_at = self.term_at or time.monotonic()
        self.signal(signal.SIGTERM)

    def freeze(self):
        self.frozen = True
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.frozen = False
        self.signal(signal.SIGCONT)

    def watch(self):
        """Starts it when it shall run and does not; judges how it ended."""
        if self.process is not None and not self.is_alive():
            self._judge_end(self.process.returncode)
            self.process = None
            self.lead_links(0)
            self.start_at = time.monotonic() + RESTART_PAUSE
        if self.process is None and self.wanted and time.monotonic() >= self.start_at:
            self.launch()
        if self.links and not self.port:
            self._find_port()
        if self.term_at and self.is_alive() and time.monotonic() - self.term_at > PATIENCE:
            self.cluster.blame(f"{self.name} (pid {self.pid}) does not end after SIGTERM")
            self.signal(signal.SIGKILL)
            self.term_at, self.killed = None, True

    def _judge_end(self, code):
        self.cluster.history.note("end", name=self.name, pid=self.pid, code=code)
        if self.killed:
            return
        if code < 0 and not (self.term_at and code == -signal.SIGTERM and not self.was_ready()):
            self.cluster.blame(f"{self.name} (pid {self.pid}) died of signal {-code}")
        elif self.term_at and code > 0 and self.was_ready():
            self.cluster.blame(f"{self.name} (pid {self.pid}) ended with {code} after SIGTERM")
        elif self.term_at is None and code == 0:
            self.cluster.blame(f"{self.name} (pid {self.pid}) ended by itself")

    def said(self):
        """What this process has logged."""
        with open(self.log_path, "rb") as log:
            log.seek(self.log_from)
            return log.read()

    def was_ready(self):
        """Before, nobody can ask it to end in good order."""
        return b".ready " in self.said()

    def _find_port(self):
        found = re.search(rb"manager\.ready address=127\.0\.0\.1:(\d+) ", self.said())
        if found and self.is_alive():
            self.lead_links(int(found[1]))

    def lead_links(self, port):
        """No port is kept while nobody listens on it: it may be somebody else's by then."""
        self.port = port
        for link in self.links:
            link.lead_to(port)

    def slots(self):
        return children(self.pid) if self.is_alive() else []

    def usage(self):
        """Open files and bytes of memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return (len(os.listdir(f"/proc/{self.pid}/fd")), pages * os.sysconf("SC_PAGE_SIZE"))


class Cluster:
    """Daemons and links of one run, in a folder of its own."""

    def __init__(self, folder, backend, servers, history, name, database_url, orphans):
        self.folder, self.backend, self.servers, self.history = folder, backend, servers, history
        self.queue, self.storage, self.problems = name, folder / "store", []
        self.database_url = database_url
        self.proxies = ProxyServer(BIN)
        self.links = {}  # name -> Proxy
        common = {"QUEUES": self.queue, "STORAGE_URL": f"file:{self.storage}",
                  "LOG_LEVEL": "debug", "STOP_GRACE": "2s"}
        manager = {**common, "WORKERS": 0, "LEASE": f"{LEASE_MS}ms", "RETRY_BASE": "100ms",
                   "RETRY_CAP": "1s", "MAX_ATTEMPTS": 20, "MIN_FREE_BYTES": "1M",
                   "IDLE_TIMEOUT": "10s"}
        if orphans == "forbid":
            manager["SWEEP_AFTER"] = "3s"
        self.managers = [self._manager(i, manager) for i in range(2 if servers else 1)]
        self.workers = [self._worker(i, common) for i in range(3 if servers else 2)]

    def _link(self, name, url):
        self.links[name] = Proxy(self.proxies, url)
        return self.links[name].url

    def _manager(self, i, settings):
        settings = dict(settings, LISTEN="127.0.0.1:0", DATABASE_URL=self.database_url)
        if self.servers:
            settings["DATABASE_URL"] = self._link(f"m{i}-db", self.database_url)
            settings["AMQP_URL"] = self._link(f"m{i}-mq", self.servers.urls["rabbitmq"])
        manager = Daemon(self, "task_manager", f"m{i}", settings)
        self._link(f"client-m{i}", "http://127.0.0.1:0")
        manager.links.append(self.links[f"client-m{i}"])
        return manager

    def _worker(self, i, settings):
        manager = self.managers[i % len(self.managers)]
        url = self._link(f"w{i}-m", "http://127.0.0.1:0")
        manager.links.append(self.links[f"w{i}-m"])
        settings = dict(settings, TASK_MANAGER_URL=url, WORKER_NAME=f"w{i}", SLOTS=2,
                        POLL="500ms", KILL_GRACE="300ms")
        if self.servers:
            settings["AMQP_URL"] = self._link(f"w{i}-mq", self.servers.urls["rabbitmq"])
        return Daemon(self, "data_processor", f"w{i}", settings)

    @property
    def daemons(self):
        return self.managers + self.workers

    def daemon(self, name):
        return next(d for d in self.daemons if d.name == name)

    def blame(self, problem):
        self.history.note("problem", text=problem)
        self.problems.append(problem)

    def watch(self):
        for daemon in self.daemons:
            daemon.watch()

    def addresses(self):
        """Where clients find the managers."""
        return [self.links[f"client-m{i}"].address for i in range(len(self.managers))]

    def start(self):
        for daemon in self.daemons:
            daemon.launch()
        self.wait_ready()
        for daemon in self.daemons:
            daemon.base = daemon.usage()

    def is_ready(self):
        for i, daemon in enumerate(self.daemons):
            if not daemon.is_alive():
                return False
            if i < len(self.managers):
                if not daemon.port:
                    return False
                try:
                    answer = support.call(("127.0.0.1", daemon.port), "GET", "/readyz")
                except (OSError, ValueError):
                    return False
                if answer.status != 200 or (self.servers and answer.json["broker"] != "up"):
                    return False
            elif len(daemon.slots()) < int(daemon.settings["SLOTS"]):
                return False
        return True

    def wait_ready(self):
        wait_until(self.is_ready, "all daemons to be ready", meanwhile=self.watch)

    def heal(self):
        """All links as if there were no proxies, every server and daemon up."""
        for link in self.links.values():
            link.trap("before", b"-", times=0)
            link.limit("requests", -1)
            link.limit("answers", -1)
            link.delay(0)
            link.mend()
        for daemon in self.daemons:
            daemon.thaw()
            daemon.wanted = True
        if self.servers:
            self.servers.join_jobs()

    def stop(self):
        """SIGTERM to all, workers first; then nothing is left that must be killed."""
        for group in (self.workers, self.managers):
            for daemon in group:
                daemon.wanted = False
                daemon.terminate()
            wait_until(lambda g=group: not any(d.process for d in g), "the daemons to end",
                       2 * PATIENCE, meanwhile=self.watch)

    def end(self):
        """In any case, and at once."""
        for daemon in self.daemons:
            daemon.wanted = False
            if daemon.is_alive():
                daemon.thaw()
                daemon.kill()
                daemon.process.wait()
        self.proxies.close()


def fresh_database(servers, folder, name):
    if servers is None:
        return f"sqlite:{folder}/segue.db"
    at = urllib.parse.urlsplit(servers.urls["mariadb"])
    name = f"segue_{name.replace('-', '_')}"
    if not servers.root_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"):
        raise Trouble(f"the database {name} cannot be made")
    return at._replace(path=f"/{name}").geturl()


def drop_database(servers, url):
    if servers is not None:
        servers.root_sql(f"DROP DATABASE IF EXISTS {urllib.parse.urlsplit(url).path[1:]}")


def missing_tools(backend):
    tools = ["setpriv"] + (["mariadb", "mariadbd", "epmd"] if backend == "mysql" else [])
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return [tool for tool in tools if not shutil.which(tool, path=path)]
