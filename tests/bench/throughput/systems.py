"""The two ways to run Segue that are measured, and what every measured system has to be able to do."""

import json
import os
import re
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request

import servers
from servers import REPO, Failed, MariaDB, Program, RabbitMQ, environment, run_json, wait_until

CONNECTIONS = 32
OPEN_LOOP_CONNECTIONS = 256  # so many requests may wait in a stall before the generator waits itself
SLOTS = 2
NOOP = {"type": "noop"}


class System:
    """One task queue with all it needs. Used in this order: start, start_workers, latency, stop_workers, submit,
    start_workers, wait_done, stop."""

    name = ""
    share = 1.0  # of --tasks: what is slow gets fewer, so that a round ends

    def __init__(self, bench):
        self.bench = bench
        self.folder = None
        self.servers = []
        self.workers = []

    def start(self, folder):
        self.folder = folder

    def start_workers(self):
        raise NotImplementedError

    def stop_workers(self):
        for worker in self.workers:
            worker.stop()
        self.workers = []

    def stop(self):
        self.stop_workers()
        for server in reversed(self.servers):
            server.stop()
        self.servers = []
        if self.folder:
            servers.end_servers(self.folder)

    def roots(self):
        return [pid for server in self.servers for pid in server.roots] + self.worker_roots()

    def worker_roots(self):
        return [worker.pid for worker in self.workers]

    def settings(self):
        return [server.settings() for server in self.servers]

    def version(self):
        raise NotImplementedError

    def submit(self, count):
        """Submits so many tasks one by one from 32 connections; returns how many a second."""
        raise NotImplementedError

    def wait_done(self, count):
        """Waits until the system's own record says that all tasks submitted since start, `count`, have ended well."""
        raise NotImplementedError

    def drained(self, count, since):
        """The seconds from the first start to the last end of the `count` tasks that ended after `since`."""
        raise NotImplementedError

    def latency(self, rate, count):
        """Submits at a fixed rate; returns the milliseconds from when each was due to be sent to its start."""
        raise NotImplementedError

    def patience(self, count):
        return 60 + count / 50


class SqliteShell:
    """The rows of the file, as servers.Shell gives those of a server."""

    def __init__(self, path):
        self.connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    def rows(self, statement):
        return [["NULL" if cell is None else str(cell) for cell in row] for row in self.connection.execute(statement)]

    def close(self):
        self.connection.close()


class Segue(System):
    """task_manager and one data_processor with two slots."""

    def __init__(self, bench):
        super().__init__(bench)
        self.manager = self.address = self.sql = None
        self.program_settings = {}
        self.ends = []  # of latency(): milliseconds from when a task was due to be sent to DONE
        self.generator_us = 0  # CPU that load.c took for each request of submit()

    def start(self, folder):
        super().start(folder)
        self.start_servers()
        self.program_settings.update(STORAGE_URL=f"file:{folder}/store", **self.bench.settings)
        self.start_manager()
        self.sql = self.shell()

    def start_servers(self):
        raise NotImplementedError

    def shell(self):
        raise NotImplementedError

    def start_manager(self):
        (self.folder / "task_manager.log").unlink(missing_ok=True)  # of one before
        self.manager = Program("task_manager", [self.bench.bin / "task_manager"], self.folder,
                               environment(WORKERS=0, LISTEN="127.0.0.1:0", **self.program_settings))
        self.manager.wait_log("manager.ready")
        self.address = re.findall(r"manager\.ready address=([\d.]+:\d+)", self.manager.log())[-1]
        wait_until(lambda: self.get_status("/readyz") == 200, "the manager to be ready")

    def start_workers(self, workers=1, slots=SLOTS):
        self.workers = [Program(f"data_processor-{i}", [self.bench.bin / "data_processor"], self.folder,
                                environment(SLOTS=slots, TASK_MANAGER_URL=f"http://{self.address}",
                                            **self.program_settings)) for i in range(workers)]

    def stop(self):
        if self.sql:
            self.sql.close()
            self.sql = None
        self.stop_workers()
        if self.manager:
            self.manager.stop()
            self.manager = None
        super().stop()

    def roots(self):
        return super().roots() + [self.manager.pid]

    def version(self):
        return subprocess.run([self.bench.bin / "task_manager", "--version"], capture_output=True, text=True,
                              check=True).stdout.strip().split("\n")[0]

    # requests

    def request(self, method, target, body=None, kind="application/json"):
        """(status, body)"""
        request = urllib.request.Request(f"http://{self.address}{target}", body, {"Content-Type": kind} if body else {},
                                         method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read()

    def get_status(self, target):
        return self.request("GET", target)[0]

    def load(self, what, method, target, body=None, **options):
        """load.c; returns what it says."""
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        if body is not None:
            path = self.folder / "body"
            path.write_bytes(body)
            words += ["--body", path]
        return run_json(f"{self.name}: {what}", [self.bench.bin / "bench_throughput_load", *words, self.address, method,
                                                 target])

    def submit(self, count, task=None):
        found = self.load("submit", "POST", "/v1/tasks", json.dumps(task or NOOP).encode(), count=count,
                          connections=CONNECTIONS)
        self.generator_us = 1e6 * found["cpu_seconds"] / count
        return found["per_second"]

    # the record

    def count(self, where):
        return int(self.sql.rows(f"SELECT COUNT(*) FROM task WHERE {where}")[0][0])

    def wait_done(self, count):
        for state in (0, 1):
            wait_until(lambda: not self.sql.rows(f"SELECT state FROM task WHERE state = {state} LIMIT 1"),
                       f"{self.name}: all tasks to end", self.patience(count), 0.05)
        done, others = self.count("state = 2"), self.count("state <> 2")
        if done != count or others:
            raise Failed(f"{self.name}: {done} of {count} tasks are DONE, {others} in another state")

    def drained(self, count, since):
        ours = f"t.state = 2 AND t.created_ms >= {int(since * 1000)}"
        found, first, last = self.sql.rows(
            f"SELECT COUNT(*), MIN(t.started_ms), MAX(t.finished_ms) FROM task t WHERE {ours}")[0]
        # An attempt that was handed back unbegun is one more attempt, but no end.
        ends = self.sql.rows(
            f"SELECT COUNT(*) FROM attempt a JOIN task t ON t.id = a.task_id WHERE {ours} AND a.outcome = 1")[0][0]
        if int(found) != count or int(ends) != count:
            raise Failed(f"{self.name}: {found} of {count} tasks in the record, with {ends} ends")
        return (int(last) - int(first)) / 1000

    def latency(self, rate, count):
        log = self.folder / "due"
        since = time.time()
        self.load("open loop", "POST", "/v1/tasks", json.dumps(NOOP).encode(), count=count, rate=rate,
                  connections=OPEN_LOOP_CONNECTIONS, log=log)
        due = dict(line.split() for line in log.read_text(encoding="utf-8").splitlines())
        self.wait_done(self.bench.submitted + count)
        rows = self.sql.rows("SELECT LOWER(HEX(a.task_id)), a.started_ms, t.finished_ms FROM attempt a JOIN task t "
                             f"ON t.id = a.task_id WHERE a.number = 1 AND t.created_ms >= {int(since * 1000)}")
        times = {task: (int(started), int(finished)) for task, started, finished in rows}
        if len(due) != count or len(times) != count:
            raise Failed(f"{self.name}: {len(due)} answers and {len(times)} starts of {count} tasks")
        # The database's clock counts whole milliseconds: on average it was half a one later.
        waits = [[at + 0.5 - int(due_us) / 1000 for at in times[task.replace("-", "")]] for task, due_us in due.items()]
        self.ends = [end for _, end in waits]
        return [start for start, _ in waits]

    # what only Segue has

    def bulk(self, count):
        """Tasks a second through POST /v1/tasks with NDJSON, or None while that is not there."""
        kind, lines, before = "application/x-ndjson", 1000, self.count("1 = 1")
        line = json.dumps(NOOP).encode() + b"\n"
        status, _ = self.request("POST", "/v1/tasks", 2 * line, kind)
        if status // 100 != 2 or self.count("1 = 1") != before + 2:
            return None
        requests = max(count // lines, 4)
        found = self.load("bulk submit", "POST", "/v1/tasks", lines * line, count=requests, connections=4, type=kind,
                          expect=status)
        if self.count("1 = 1") != before + 2 + requests * lines:
            raise Failed(f"{self.name}: bulk submit: {self.count('1 = 1') - before} tasks in the record")
        return found["per_second"] * lines

    def files(self, count):
        """Small CSVs a second, from the first upload sent to the last DONE."""
        rows = subprocess.run([self.bench.bin / "taskctl", "fake-songs", "--rows", "1000", "--songs", "20", "--days",
                               "365", "--seed", "1"], capture_output=True, check=True).stdout
        found = self.load("uploads", "POST", "/v1/data_processor/upload", rows, count=count, connections=16,
                          type="text/csv")
        since = found["wall_start"]
        self.wait_done(self.bench.submitted + count)
        done, last = self.sql.rows("SELECT COUNT(*), MAX(finished_ms) FROM task WHERE type = 'csv_plays' AND state = 2")[0]
        if int(done) != count:
            raise Failed(f"{self.name}: {done} of {count} files are DONE")
        return count / (int(last) / 1000 - since)


class SegueSqlite(Segue):
    name = "segue-sqlite"
    label = "Segue: SQLite, no broker"

    def start_servers(self):
        self.program_settings["DATABASE_URL"] = f"sqlite:{self.folder}/segue.db"

    def shell(self):
        return SqliteShell(self.folder / "segue.db")

    def settings(self):
        source = "\n".join(path.read_text(encoding="utf-8") for path in (REPO / "task_manager/store").glob("store_sqlite*.c"))
        level = re.findall(r'"PRAGMA synchronous = (\w+)"', source)
        mode = self.sql.rows("PRAGMA journal_mode")[0][0]
        return [f"SQLite {sqlite3.sqlite_version} journal_mode={mode}, synchronous={'/'.join(level) or '?'} "
                "(of each connection of the manager; checked when it opens)"]


class SegueMysql(Segue):
    name = "segue-mysql"
    label = "Segue: MariaDB + RabbitMQ"

    def start_servers(self):
        self.servers = [MariaDB(self.folder), RabbitMQ(self.folder)]
        self.program_settings.update(DATABASE_URL=self.servers[0].url, AMQP_URL=self.servers[1].url)

    def settings(self):
        """The relay removes an outbox row on the broker's confirm alone, and counts those."""
        found = re.search(rb"^segue_outbox_published_total (\d+)", self.request("GET", "/metrics")[1], re.M)
        waiting = self.sql.rows("SELECT COUNT(*) FROM outbox")[0][0]
        return super().settings() + [f"publisher confirms ({int(found.group(1)) if found else '?'} so far, {waiting} awaited)"]

    def shell(self):
        return self.servers[0].shell()


SYSTEMS = [SegueSqlite, SegueMysql]
