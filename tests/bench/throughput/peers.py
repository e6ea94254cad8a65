"""The other systems: Celery, BullMQ and graphile-worker, each as its own documentation advises for speed."""

import json
import os
import shutil
import struct
import sys
import time

from servers import HERE, REPO, Failed, MariaDB, PostgreSQL, Program, RabbitMQ, Redis, quietly, run_json, wait_until
from systems import CONNECTIONS, System

MODULES = REPO / "build/bench-throughput/node_modules"
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's Celery
START = struct.Struct("<dd")  # when a task's handler started, when the task was due to be sent


class Peer(System):
    """A client and workers in the system's own language; the handler notes when it started."""

    client = ()
    processes = 1  # of workers

    def __init__(self, bench):
        super().__init__(bench)
        self.env = dict(os.environ, NODE_PATH=str(MODULES), NODE_ENV="production", PYTHONDONTWRITEBYTECODE="1")
        self.ended = 0

    def start(self, folder):
        super().start(folder)
        (folder / "starts").mkdir()
        self.env["BENCH_STARTS"] = str(folder / "starts")
        self.start_servers()
        self.run_client("setup")

    def start_servers(self):
        raise NotImplementedError

    def run_client(self, *words):
        return run_json(f"{self.name}: {words[0]}", [*self.client, *words], env=self.env, cwd=HERE / "peers")

    def start_workers(self):
        self.workers = [Program(f"{self.name}-{i}", self.worker_command(), self.folder, self.env)
                        for i in range(self.processes)]

    def worker_command(self):
        raise NotImplementedError

    def submit(self, count):
        return self.run_client("closed", count, CONNECTIONS, 0)["per_second"]

    def start_count(self):
        return sum(path.stat().st_size for path in (self.folder / "starts").iterdir()) // START.size

    def starts(self, since):
        found = [pair for path in (self.folder / "starts").iterdir() for pair in START.iter_unpack(path.read_bytes())]
        return [(start, due) for start, due in found if due >= since]

    def wait_done(self, count):
        """All handlers have started; then all ends are in the record."""
        wait_until(lambda: self.start_count() >= count, f"{self.name}: all tasks to start", self.patience(count))
        wait_until(lambda: self.is_done(count), f"{self.name}: all tasks to end")
        self.ended = time.time()
        if self.start_count() != count:
            raise Failed(f"{self.name}: {self.start_count()} starts of {count} tasks")

    def is_done(self, count):
        """Does the system's own record say so? Raises if it says that tasks failed."""
        raise NotImplementedError

    def drained(self, count, since):
        found = self.starts(since)
        if len(found) != count:
            raise Failed(f"{self.name}: {len(found)} starts of {count} tasks")
        return self.last_end() - min(start for start, _ in found)

    def last_end(self):
        return self.ended

    def latency(self, rate, count):
        since = time.time()
        self.run_client("open", count, CONNECTIONS, rate)
        self.wait_done(self.bench.submitted + count)
        found = self.starts(since)
        if len(found) != count:
            raise Failed(f"{self.name}: {len(found)} starts of {count} tasks")
        return [1000 * (start - due) for start, due in found]


class Celery(Peer):
    name = "celery"
    label = "Celery: RabbitMQ, results in MariaDB"
    client = PYTHON, HERE / "peers/celery_client.py"
    share = 0.25

    def start_servers(self):
        self.servers = [MariaDB(self.folder), RabbitMQ(self.folder)]
        self.env["BENCH_RESULTS"] = self.servers[0].url.replace("mysql://", "db+mysql://")
        self.env["BENCH_BROKER"] = self.servers[1].url
        self.env["PYTHONPATH"] = str(HERE / "peers")

    def worker_command(self):
        return [PYTHON, "-m", "celery", "-A", "celery_app", "worker", "--pool=prefork", "--concurrency=2",
                "--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]

    def is_done(self, count):
        if int(self.servers[0].sql.value("SELECT COUNT(*) FROM celery_taskmeta")) < count:
            return False
        found = self.servers[0].sql.rows("SELECT status, COUNT(*) FROM celery_taskmeta GROUP BY status")
        if found != [["SUCCESS", str(count)]]:
            raise Failed(f"{self.name}: {found} of {count} tasks")
        return True

    def settings(self):
        return super().settings() + ["persistent messages, publisher confirms, acks late, prefork 2, prefetch multiplier 4"]

    def version(self):
        return "Celery " + quietly("celery", [PYTHON, "-m", "celery", "--version"]).split()[0]


class BullMQ(Peer):
    name = "bullmq"
    label = "BullMQ: Redis, fsync always"
    client = "node", HERE / "peers/bullmq.js"
    fsync = "always"
    processes, concurrency = 2, 100  # faster than one process, and than 32 or 500 at a time

    def start_servers(self):
        self.servers = [Redis(self.folder, self.fsync)]
        self.env["BENCH_REDIS_PORT"] = str(self.servers[0].port)

    def worker_command(self):
        return [*self.client, "work", self.concurrency]

    def is_done(self, count):
        redis = self.servers[0]
        if redis.call("ZCARD", "bull:noop:failed"):
            raise Failed(f"{self.name}: tasks failed")
        return redis.call("ZCARD", "bull:noop:completed") == count

    def last_end(self):
        return float(self.servers[0].call("ZREVRANGE", "bull:noop:completed", 0, 0, "WITHSCORES")[1]) / 1000

    def settings(self):
        return super().settings() + [f"{self.processes} worker processes, concurrency {self.concurrency}"]

    def version(self):
        return node_version("bullmq", "BullMQ")


class BullMQEverysec(BullMQ):
    name = "bullmq-everysec"
    label = "BullMQ: Redis, fsync once a second"
    fsync = "everysec"


class Graphile(Peer):
    name = "graphile"
    label = "graphile-worker: PostgreSQL"
    client = "node", HERE / "peers/graphile.js"
    processes, concurrency = 2, 24  # faster than one process, and than 100 at a time

    def start_servers(self):
        self.servers = [PostgreSQL(self.folder)]
        self.env["BENCH_POSTGRESQL"] = self.servers[0].url

    def worker_command(self):
        return [*self.client, "work", self.concurrency]

    def is_done(self, count):
        """It removes what is done from its table, and keeps what failed."""
        return self.servers[0].sql.value("SELECT COUNT(*) FROM graphile_worker._private_jobs") == "0"

    def settings(self):
        return super().settings() + [f"{self.processes} worker processes, concurrency {self.concurrency}, local queue of "
                                     "500, batched completion"]

    def version(self):
        return node_version("graphile-worker", "graphile-worker")


def node_version(package, label):
    return f"{label} " + json.loads((MODULES / package / "package.json").read_text(encoding="utf-8"))["version"]


SYSTEMS = [Celery, BullMQ, BullMQEverysec, Graphile]


def fetch(names):
    """Debian's packages, and the npm packages of the lock file in build/bench-throughput."""
    quietly("installing packages", [REPO / "scripts/packages.sh", "throughput"])
    if not any(system.name in names and system.client[0] == "node" for system in SYSTEMS):
        return
    folder = MODULES.parent
    done, wanted = folder / "installed", (HERE / "package-lock.json").read_text(encoding="utf-8")
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, folder / name)
    print("fetching the npm packages (26 MB unpacked)", file=sys.stderr)
    quietly("npm", ["npm", "ci", "--ignore-scripts"], cwd=folder)
    done.write_text(wanted, encoding="utf-8")
