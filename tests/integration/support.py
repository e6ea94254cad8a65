"""support.py - the harness of the integration tests.

Starts the real programs in temporary folders, talks to them as a client or as a worker would,
and ends them again, expecting exit code 0 and no word of a sanitizer. Every test runs on both
backends: SEGUE_TEST_BACKEND=sqlite (no broker) or mysql (with TEST_DATABASE_URL and
TEST_AMQP_URL; each manager gets a database and a queue name of its own).

Environment: SEGUE_BIN (folder of the programs), SEGUE_TEST_REQUIRE_ALL=1 (a missing server is
a failure, not a skip), SEGUE_TEST_KEEP=1 (leave the temporary folders).
"""

import contextlib
import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("SEGUE_BIN", REPO / "build/dev/bin"))
BACKEND = os.environ.get("SEGUE_TEST_BACKEND", "sqlite")
DATABASE_URL = os.environ.get("TEST_DATABASE_URL", "")
AMQP_URL = os.environ.get("TEST_AMQP_URL", "")
SKIPPED = 77  # ctest's SKIP_RETURN_CODE

SANITIZED = (BIN / "task_manager").exists() and re.search(
    rb"__[at]san_init", (BIN / "task_manager").read_bytes()) is not None
PATIENCE = 120 if SANITIZED else 30  # seconds; what should happen soon has happened by then

EXAMPLE = (b"Song,Date,Number of Plays\nUmbrella,2020-01-02,200\nUmbrella,2020-01-01,100\n"
           b"In The End,2020-01-01,500\nUmbrella,2020-01-01,50\nIn The End,2020-01-01,1000\n"
           b"Umbrella,2020-01-02,50\nIn The End,2020-01-02,500\n")
EXAMPLE_TOTALS = (b"Song,Date,Number of Plays\nIn The End,2020-01-01,1500\n"
                  b"In The End,2020-01-02,500\nUmbrella,2020-01-01,150\n"
                  b"Umbrella,2020-01-02,250\n")
UPLOAD = "/v1/data_processor/upload"
UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def wait_until(condition, what, seconds=None):
    """Polls until condition() is true and returns its value; fails with `what`."""
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        if waited > (seconds or PATIENCE):
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(min(0.05, 0.002 + waited / 10))


def only_on(backend, reason):
    return unittest.skipUnless(BACKEND == backend, reason)


# --- programs ---------------------------------------------------------------------------------

running = []  # every program alive, for the logs of a failure and for the end


def clean_environment(settings):
    """Nothing of the caller's shell but what a program needs to run at all."""
    keep = ("PATH", "HOME", "TMPDIR", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
            "TSAN_OPTIONS", "LD_LIBRARY_PATH")
    env = {name: os.environ[name] for name in keep if name in os.environ}
    env.update({name: str(value) for name, value in settings.items() if value is not None})
    return env


def run(program, *arguments, cwd, input=None, **settings):
    """Runs a program to its end; the result has returncode, stdout and stderr (bytes)."""
    return subprocess.run([BIN / program, *arguments], cwd=cwd, input=input,
                          env=clean_environment(settings), capture_output=True,
                          timeout=4 * PATIENCE, check=False)


def cleanup_of(owner):
    """A test cleans up after itself; a class, after its last test."""
    return owner.addCleanup if isinstance(owner, unittest.TestCase) else owner.addClassCleanup


def temp_dir(owner):
    path = Path(tempfile.mkdtemp(prefix="segue-it-"))
    if not os.environ.get("SEGUE_TEST_KEEP"):
        cleanup_of(owner)(shutil.rmtree, path, True)
    return path


class Program:
    """A daemon with its output in a file."""

    def __init__(self, owner, name, cwd, **settings):
        self.name, self.cwd, self.settings = name, cwd, settings
        self.log_path = cwd / f"{name}-{secrets.token_hex(3)}.log"
        self.process = None
        cleanup_of(owner)(self.end)

    def launch(self):
        with open(self.log_path, "ab") as out:
            self.process = subprocess.Popen([BIN / self.name], cwd=self.cwd, stdout=out,
                                            stderr=out, stdin=subprocess.DEVNULL,
                                            env=clean_environment(self.settings))
        running.append(self)
        return self

    @property
    def pid(self):
        return self.process.pid

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, text, count=1):
        def told():
            log = self.log()
            if log.count(text) < count and not self.is_alive():
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{log}")
            return log if log.count(text) >= count else None
        return wait_until(told, f"'{text}' in the log of {self.name}")

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, seconds=None):
        code = self.process.wait(seconds or PATIENCE)
        self._forget()
        return code

    def stop(self, seconds=None):
        """SIGTERM, and the good end that has to follow."""
        if not self.is_alive():
            raise AssertionError(f"{self.name} ended by itself with "
                                 f"{self.process.returncode}:\n{self.log()[-4000:]}")
        self.signal(signal.SIGTERM)
        code = self.wait_exit(seconds)
        if code != 0:
            raise AssertionError(f"{self.name} ended with {code}:\n{self.log()[-4000:]}")

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait_exit()

    def end(self):
        """After the test: still running means stop; already stopped or killed is fine."""
        if self not in running:
            return
        try:
            self.stop()
        finally:
            if self.is_alive():
                self.kill()
            self._forget()

    def _forget(self):
        if self in running:
            running.remove(self)
        found = re.search(r"(AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error):?.*",
                          self.log())
        if found:
            raise AssertionError(f"{self.name}: {found.group(0)}\n{self.log()[-6000:]}")


def memory_figure(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no {name}")


def peak_memory(pid):
    """Of what was resident at any time, in bytes."""
    return memory_figure(pid, "VmHWM")


def resident_memory(pid):
    return memory_figure(pid, "VmRSS")


def children(pid):
    """Direct children that are not zombies."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            if process_exists(int(child)):
                found.append(int(child))
    return found


def process_exists(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


# --- databases --------------------------------------------------------------------------------


def sql(url, statement):
    at = urllib.parse.urlsplit(url)
    client = shutil.which("mariadb") or shutil.which("mysql")
    return subprocess.run([client, "--no-defaults", "--protocol=tcp", "-h", at.hostname, "-P",
                           str(at.port), "-u", at.username, at.path[1:], "-e", statement],
                          env={**os.environ, "MYSQL_PWD": at.password or ""}, check=True,
                          capture_output=True, timeout=PATIENCE).stdout


def fresh_database(owner, cwd):
    """The URL of an empty database that goes when the owner does."""
    if BACKEND == "sqlite":
        return f"sqlite:{cwd}/segue.db"
    name = f"segue_it_{secrets.token_hex(6)}"
    sql(DATABASE_URL, f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    cleanup_of(owner)(sql, DATABASE_URL, f"DROP DATABASE {name}")
    return DATABASE_URL.rsplit("/", 1)[0] + "/" + name


# --- the HTTP client --------------------------------------------------------------------------


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def call(address, method, path, body=None, headers=None, data=None):
    """One request on a connection of its own. `data` goes as JSON; a body that is an iterator
    goes chunked. An answer that comes before the body is through is an answer too."""
    headers = dict(headers or {})
    if data is not None:
        body = json.dumps(data).encode()
        headers.setdefault("Content-Type", "application/json")
    chunked = body is not None and not isinstance(body, bytes) and "Content-Length" not in headers
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    connection = http.client.HTTPConnection(*address, timeout=2 * PATIENCE)
    try:
        try:
            connection.request(method, path, body, headers, encode_chunked=chunked)
        except (BrokenPipeError, ConnectionResetError):
            if connection.sock is None:  # it was the connect that failed
                raise
        return Answer(connection.getresponse())
    finally:
        connection.close()


def read_answer(sock, method="GET"):
    """The answer to a request that was written to the socket by hand."""
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    return Answer(response)


def is_closed_by_peer(sock):
    """True once the other side has closed; needs a socket with nothing left to read."""
    sock.settimeout(PATIENCE)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def multipart(*parts, end=True):
    """(name, file name or None, bytes)... -> body, headers"""
    boundary = secrets.token_hex(12)
    body = b""
    for name, filename, content in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        if filename is not None:
            head += f'; filename="{filename}"\r\nContent-Type: text/csv'
        body += head.encode() + b"\r\n\r\n" + content + b"\r\n"
    if end:
        body += f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


# --- the daemons ------------------------------------------------------------------------------


class Manager(Program):
    """A task_manager in a temporary folder. Without a word about it, it has no worker. All
    tasks of a test go to the manager's own queue: others use the same broker."""

    def __init__(self, owner, cwd=None, **settings):
        cwd = cwd or temp_dir(owner)
        self.queue = f"it-{secrets.token_hex(4)}"
        defaults = {"LISTEN": "127.0.0.1:0", "STORAGE_URL": f"file:{cwd}/store", "WORKERS": 0,
                    "QUEUES": self.queue, "MIN_FREE_BYTES": "1M", "RETRY_BASE": "10ms",
                    "POLL": "200ms", "STOP_GRACE": "1s", "LOG_LEVEL": "debug",
                    "STARTUP_WAIT": "0s"}
        if "DATABASE_URL" not in settings:
            defaults["DATABASE_URL"] = fresh_database(owner, cwd)
        if BACKEND == "mysql":
            defaults["AMQP_URL"] = AMQP_URL
        super().__init__(owner, "task_manager", cwd, **{**defaults, **settings})
        self.storage = Path(self.settings["STORAGE_URL"].removeprefix("file:"))
        self.address = None

    def start(self):
        """Starts it, again on the same port when it ran before, and waits until it is ready."""
        self.start_unready()
        wait_until(lambda: self.get("/readyz").status == 200, "the manager to be ready")
        return self

    def start_unready(self):
        """The same for one that serves, but says on /readyz that it accepts no work."""
        before = self.log().count("manager.ready") if self.log_path.exists() else 0
        self.launch()
        log = self.wait_log("manager.ready", before + 1)
        host, port = re.findall(r"manager\.ready address=([\d.]+):(\d+)", log)[-1]
        self.address = (host, int(port))
        self.settings["LISTEN"] = f"{host}:{port}"
        return self

    @property
    def url(self):
        return "http://%s:%d" % self.address

    # requests

    def call(self, method, path, body=None, headers=None, data=None):
        return call(self.address, method, path, body, headers, data)

    def get(self, path, **headers):
        return self.call("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path, data):
        return self.call("POST", path, data=data)

    def connect(self):
        return socket.create_connection(self.address, timeout=2 * PATIENCE)

    def raw(self, request):
        """Bytes on a connection of their own -> the answer."""
        with self.connect() as sock:
            sock.sendall(request)
            return read_answer(sock)

    # tasks

    def upload(self, content, headers=None, **query):
        query = urllib.parse.urlencode({"queue": self.queue, **query})
        headers = {"Content-Type": "text/csv", **(headers or {})}
        answer = self.call("POST", f"{UPLOAD}?{query}", content, headers)
        return accepted(answer)

    def submit(self, type="noop", headers=None, **members):
        data = {"type": type, "queue": self.queue, **members}
        return accepted(self.call("POST", "/v1/tasks", data=data, headers=headers))

    def show(self, task_id):
        answer = self.get(f"/v1/tasks/{task_id}")
        assert answer.status == 200, answer
        return answer.json

    def status(self, task_id):
        answer = self.get(f"/v1/tasks/status/{task_id}")
        assert answer.status == 200, answer
        return answer.json

    def wait_status(self, task_id, *wanted):
        ends = {"DONE", "FAILED", "CANCELLED"} - set(wanted)

        def reached():
            status = self.status(task_id)
            assert status["status"] not in ends, self.show(task_id)
            return status if status["status"] in wanted else None
        return wait_until(reached, f"task {task_id} to be {' or '.join(wanted)}")

    def download(self, task_id, query=""):
        return self.get(f"/v1/data_processor/download/{task_id}{query}")

    def tasks(self):
        """All of them, over the pages."""
        found, path = [], "/v1/tasks?page_size=200"
        while path:
            page = self.get(path).json
            found += page["tasks"]
            path = (page["next_url"] or "").removeprefix(self.url)
        return found

    def metric(self, name):
        found = re.search(rf"^{name} (\S+)$", self.get("/metrics").body.decode(), re.M)
        assert found, f"there is no metric {name}"
        return float(found.group(1))

    # what is on disk

    def stored(self):
        """The files of the object store, as keys. Folders may go while one looks."""
        return {os.path.relpath(os.path.join(folder, name), self.storage)
                for folder, _, names in os.walk(self.storage) for name in names}

    def leftovers(self):
        """Unfinished files, and inputs that no task refers to."""
        used = {task["file_input_path"] for task in self.tasks()}
        return {key for key in self.stored()
                if key.endswith(".part") or (key.startswith("raw_data/") and key not in used)}

    def wait_clean(self):
        wait_until(lambda: not self.leftovers(), "unfinished and unused files to be gone")


def accepted(answer):
    assert answer.status == 202, answer
    assert set(answer.json) == {"task_id"}, answer
    return answer.json["task_id"]


class Worker(Program):
    """A data_processor for a manager's queue."""

    def __init__(self, owner, manager, name="w", **settings):
        self.worker_name = f"{name}-{secrets.token_hex(3)}"
        defaults = {"TASK_MANAGER_URL": manager.url, "QUEUES": manager.queue, "SLOTS": 1,
                    "STORAGE_URL": manager.settings["STORAGE_URL"], "POLL": "200ms",
                    "AMQP_URL": manager.settings.get("AMQP_URL"), "KILL_GRACE": "200ms",
                    "STOP_GRACE": "1s", "WORKER_NAME": self.worker_name}
        super().__init__(owner, "data_processor", manager.cwd, **{**defaults, **settings})

    def start(self):
        self.launch()
        self.wait_log("worker.ready")
        return self


class HandWorker:
    """A worker by docs/worker-protocol.md and nothing else."""

    def __init__(self, manager, name="by-hand"):
        self.manager, self.name = manager, name

    def claim(self, limit=1, wait_ms=0, **members):
        if "task_id" not in members:
            members.setdefault("queues", [self.manager.queue])
        answer = self.manager.post("/v1/worker/claim", {
            "worker": self.name, "limit": limit, "wait_ms": wait_ms, **members})
        assert answer.status == 200, answer
        return answer.json["tasks"]

    def claim_one(self, wait_ms=0, **members):
        work = self.claim(1, wait_ms, **members)
        assert len(work) == 1, work
        return work[0]

    def heartbeat(self, work, **members):
        answer = self.manager.post("/v1/worker/heartbeat", {"worker": self.name, "attempts": [
            {"task_id": work["task_id"], "token": work["token"], **members}]})
        assert answer.status == 200, answer
        return answer.json["attempts"][0]

    def report(self, work, outcome="done", **members):
        """The whole answer: its status is worth a look."""
        return self.manager.post("/v1/worker/report", {"worker": self.name, "reports": [
            {"task_id": work["task_id"], "token": work["token"], "outcome": outcome, **members}]})

    def finish(self, work, content=EXAMPLE_TOTALS):
        """Writes an output as the protocol asks and reports it."""
        key = work["output_prefix"] + "totals.csv"
        self.write(key, content)
        answer = self.report(work, output={"key": key, "size": len(content),
                                           "sha256": sha256(content)})
        assert answer.status == 200, answer
        return key

    def write(self, key, content):
        path = self.manager.storage / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def output_key(task_id, attempt=1, name="totals.csv"):
    """Where an attempt that writes a file or two puts them."""
    return f"processed_data/{task_id[-2:]}/{task_id}.{attempt}.{name}"


def make_database_old(manager, seconds=10_000_000):
    """The sweep takes nothing that is older than the database."""
    statement = f"UPDATE schema_migration SET applied_ms = applied_ms - {seconds * 1000}"
    url = manager.settings["DATABASE_URL"]
    if BACKEND == "mysql":
        sql(url, statement)
        return
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"), timeout=PATIENCE)) as db:
        with db:
            db.execute(statement)


def make_old(path, seconds=7200):
    """Lets a file or folder look untouched for so long."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def start_pair(owner, slots=2, **settings):
    """A manager with somebody to do the work: on SQLite a worker of its own, on MySQL a
    separate data_processor. The settings are for both."""
    if BACKEND == "sqlite":
        return Manager(owner, WORKERS=slots, **settings).start()
    manager = Manager(owner, **settings).start()
    Worker(owner, manager, **{**settings, "SLOTS": slots}).start()
    return manager


class Case(unittest.TestCase):
    """A test that may start programs; what a class starts is shared by its tests."""

    def assert_problem(self, answer, status, error=None, says=""):
        """The answer is RFC 9457 problem JSON that a user understands."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        problem = answer.json
        self.assertEqual(set(problem), {"type", "title", "status", "detail", "error"})
        self.assertEqual(problem["status"], status)
        self.assertTrue(problem["title"] and problem["detail"], problem)
        self.assertIn(says, problem["detail"])
        if error is not None:
            self.assertEqual(problem["error"], error)


# --- running ----------------------------------------------------------------------------------


class Result(unittest.TextTestResult):
    """Shows what the programs said when a test fails."""

    def _show_logs(self):
        for program in running:
            tail = program.log()[-3000:]
            self.stream.writeln(f"\n--- the end of {program.log_path.name}:\n{tail}")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._show_logs()

    def addError(self, test, err):
        super().addError(test, err)
        self._show_logs()

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._show_logs()


def main():
    missing = [name for name in ("TEST_DATABASE_URL", "TEST_AMQP_URL")
               if BACKEND == "mysql" and not os.environ.get(name)]
    if missing:
        print(f"no {' and no '.join(missing)}: there is nothing to test on")
        sys.exit(1 if os.environ.get("SEGUE_TEST_REQUIRE_ALL") else SKIPPED)
    try:
        unittest.main(testRunner=unittest.TextTestRunner(resultclass=Result, verbosity=2),
                      module="__main__")
    finally:
        for program in list(running):
            program.process.kill()
