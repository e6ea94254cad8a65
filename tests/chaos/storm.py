"""storm.py - the faults: a schedule that follows from the seed alone, and the hand that does it."""

import heapq
import os
import random
import signal
import subprocess
import time

from processes import LEASE_MS

LEASE = LEASE_MS / 1000
COMMIT = b"\x07\x00\x00\x00\x03COMMIT"  # the packet of MySQL's protocol


class Fault:
    """kind; weight; target ("worker", "manager", "slot", "db", "mq", or the end of a link's
    name); seconds it lasts; functions (storm, target, random) to begin and (storm, target) to
    end it."""

    def __init__(self, kind, weight, target, lasts, begin, end=None):
        self.kind, self.weight, self.target, self.lasts = kind, weight, target, lasts
        self.begin, self.end = begin, end


def kill_daemon(storm, name, _):
    storm.hit(name)
    storm.cluster.daemon(name).kill()


def start_daemon(storm, name):
    storm.cluster.daemon(name).wanted = True


def freeze_daemon(storm, name, _):
    storm.hit(name)
    storm.cluster.daemon(name).freeze()


def thaw_daemon(storm, name):
    storm.cluster.daemon(name).thaw()


def stop_daemon(storm, name, rng):
    daemon = storm.cluster.daemon(name)
    daemon.terminate()
    if rng.random() < 0.3:
        daemon.terminate()  # an impatient one


def hit_slot(number):
    def begin(storm, name, rng):
        name = name.removesuffix(" slot")
        slots = storm.cluster.daemon(name).slots()
        if slots:
            storm.hit(name)
            pid = rng.choice(sorted(slots))
            storm.frozen_slots[name] = pid
            send(pid, number)
    return begin


def thaw_slot(storm, name):
    send(storm.frozen_slots.pop(name.removesuffix(" slot"), None), signal.SIGCONT)


def send(pid, number):
    """To a child of one of our daemons, which may be gone."""
    try:
        if pid:
            os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill_server(name):
    def begin(storm, _, rng):
        down = rng.uniform(0, 1.5)

        def job():
            storm.servers.run("kill", name)
            time.sleep(down)
            storm.servers.run("restart", name)
        storm.servers.start_job(job)
    return begin


def restart_server(name):
    return lambda storm, _, rng: storm.servers.start_job(
        lambda: storm.servers.run("restart", name))


def freeze_server(name):
    return lambda storm, _, rng: send(storm.servers.pid(name), signal.SIGSTOP)


def thaw_server(name):
    return lambda storm, _: send(storm.servers.pid(name), signal.SIGCONT)


def set_globally(text):
    """What comes after is of no interest: a server that is down has no settings to change."""
    def begin(storm, *_):
        storm.servers.start_job(lambda: storm.servers.root_sql(f"SET GLOBAL {text}"))
    return begin


def lock_tasks(storm, _, rng):
    """A session of somebody else's that holds every waiting and running task for a while."""
    database = storm.cluster.database_url.rsplit("/", 1)[1]
    storm.servers.start_job(lambda: storm.servers.root_sql(
        f"USE {database}; BEGIN; SELECT COUNT(*) FROM task WHERE state < 2 FOR UPDATE;"
        f"SELECT SLEEP({rng.uniform(0.2, 2.5)}); ROLLBACK"))


def rabbitmqctl(*words):
    def begin(storm, *_):
        queue = f"segue.{storm.cluster.queue}"
        storm.servers.start_job(lambda: storm.servers.rabbitmqctl(
            *(word.replace("QUEUE", queue) for word in words)))
    return begin


def link_mode(*modes):
    def begin(storm, link, rng):
        storm.cluster.links[link].mode(rng.choice(modes))
    return begin


def mend_link(storm, link):
    storm.cluster.links[link].mend()


def mend_and_reset_link(storm, link):
    """After bytes were dropped: no connection lives on with a hole in it."""
    storm.cluster.links[link].mend()
    storm.cluster.links[link].reset()


def reset_link(storm, link, _):
    storm.cluster.links[link].reset()


def cut_link(storm, link, _):
    storm.cluster.links[link].cut()


def slow_link(storm, link, rng):
    storm.cluster.links[link].delay(rng.randint(5, 200))


def end_slow_link(storm, link):
    storm.cluster.links[link].delay(0)


def trap(patterns, cuts=("unanswered",)):
    def begin(storm, link, rng):
        storm.cluster.links[link].trap(rng.choice(cuts), rng.choice(patterns), rng.randint(1, 3))
    return begin


def disarm(storm, link):
    storm.cluster.links[link].trap("before", b"-", times=0)


def truncate(storm, link, rng):
    storm.cluster.links[link].limit(rng.choice(["requests", "answers"]),
                                    int(2 ** rng.uniform(0, 16)))


def end_truncate(storm, link):
    storm.cluster.links[link].limit("requests", -1)
    storm.cluster.links[link].limit("answers", -1)


SILENCE = ("pause", "pause_requests", "pause_answers")
HOLES = ("drop", "drop_requests", "drop_answers")
CALLS = (b"POST /v1/worker/report", b"POST /v1/worker/claim", b"POST /v1/worker/heartbeat")
SUBMITS = (b"POST /v1/tasks", b"POST /v1/data_processor/upload", b"DELETE /v1/tasks")

FAULTS = [
    Fault("worker killed", 10, "worker", (0.1, 2), kill_daemon, start_daemon),
    Fault("worker frozen", 7, "worker", (0.2, 3 * LEASE), freeze_daemon, thaw_daemon),
    Fault("worker stopped", 5, "worker", (1, 2), stop_daemon),
    Fault("slot killed", 5, "slot", (0.1, 0.2), hit_slot(signal.SIGKILL)),
    Fault("slot frozen", 2, "slot", (0.2, LEASE), hit_slot(signal.SIGSTOP), thaw_slot),
    Fault("manager killed", 7, "manager", (0.1, 2), kill_daemon, start_daemon),
    Fault("manager frozen", 4, "manager", (0.2, 2 * LEASE), freeze_daemon, thaw_daemon),
    Fault("manager stopped", 4, "manager", (1, 2), stop_daemon),
    Fault("database killed", 3, "db", (4, 6), kill_server("mariadb")),
    Fault("database restarted", 2, "db", (4, 6), restart_server("mariadb")),
    Fault("database frozen", 2, "db", (0.2, 4), freeze_server("mariadb"), thaw_server("mariadb")),
    Fault("database read-only", 1, "db", (0.5, 3), set_globally("read_only = 1"),
          set_globally("read_only = 0")),
    Fault("database full of others", 1, "db", (0.5, 3), set_globally("max_connections = 10"),
          set_globally("max_connections = 200")),
    Fault("tasks locked", 2, "db", (2, 3), lock_tasks),
    Fault("broker killed", 2, "mq", (12, 16), kill_server("rabbitmq")),
    Fault("broker frozen", 2, "mq", (0.5, 5), freeze_server("rabbitmq"),
          thaw_server("rabbitmq")),
    Fault("broker out of memory", 1, "mq", (4, 8),
          rabbitmqctl("set_vm_memory_high_watermark", "0.00001"),
          rabbitmqctl("set_vm_memory_high_watermark", "0.4")),
    Fault("queue purged", 1, "mq", (2, 3), rabbitmqctl("purge_queue", "QUEUE")),
    Fault("queue deleted", 1, "mq", (2, 3), rabbitmqctl("delete_queue", "QUEUE")),
    Fault("database link silent", 3, "-db", (0.5, 5), link_mode(*SILENCE), mend_link),
    Fault("database link cut", 3, "-db", (0.1, 1.5), cut_link, mend_link),
    Fault("database link reset", 3, "-db", (0.1, 0.2), reset_link),
    Fault("database link slow", 2, "-db", (0.5, 3), slow_link, end_slow_link),
    Fault("cut during COMMIT", 6, "-db", (1, 3),
          trap([COMMIT], ("before", "unanswered", "answered")), disarm),
    Fault("broker link silent", 2, "-mq", (0.5, 5), link_mode(*SILENCE), mend_link),
    Fault("broker link a hole", 2, "-mq", (0.5, 5), link_mode(*HOLES), mend_and_reset_link),
    Fault("broker link reset", 2, "-mq", (0.1, 0.2), reset_link),
    Fault("worker link silent", 3, "-m", (0.5, 2 * LEASE), link_mode(*SILENCE), mend_link),
    Fault("worker link a hole", 3, "-m", (0.5, 2 * LEASE), link_mode(*HOLES),
          mend_and_reset_link),
    Fault("worker link reset", 3, "-m", (0.1, 0.2), reset_link),
    Fault("worker link cut", 2, "-m", (0.1, 2), cut_link, mend_link),
    Fault("worker link slow", 1, "-m", (0.5, 3), slow_link, end_slow_link),
    Fault("answer to a worker lost", 6, "-m", (1, 3), trap(CALLS), disarm),
    Fault("client link a hole", 1, "client-", (0.5, 3), link_mode(*HOLES), mend_and_reset_link),
    Fault("client link reset", 2, "client-", (0.1, 0.2), reset_link),
    Fault("client link truncates", 2, "client-", (0.2, 1), truncate, end_truncate),
    Fault("answer to a client lost", 4, "client-", (1, 3), trap(SUBMITS), disarm),
]


def targets_of(fault, cluster):
    """Names of what it may hit."""
    if fault.target == "worker":
        return [d.name for d in cluster.workers]
    if fault.target == "slot":
        return [f"{d.name} slot" for d in cluster.workers]
    if fault.target == "manager":
        return [d.name for d in cluster.managers]
    if fault.target in ("db", "mq"):
        return [fault.target] if cluster.servers else []
    return [name for name in cluster.links
            if name.endswith(fault.target) or name.startswith(fault.target)]


def plan(seed, seconds, every, only, cluster):
    """[(second, fault, target, seconds it lasts, random for its details)], nothing hit twice at
    a time. `every`: seconds between faults, on average. `only`: words, of which one begins the
    kind of every fault; None: all kinds."""
    rng = random.Random(f"storm {seed}")
    possible = [(f, targets) for f in FAULTS if (targets := targets_of(f, cluster))
                and f.kind.startswith(tuple(only or [""]))]
    weights = [f.weight for f, _ in possible]
    busy, planned, at = {}, [], 0.0
    while (at := at + rng.expovariate(1 / every)) < seconds:
        fault, targets = rng.choices(possible, weights)[0]
        target, lasts = rng.choice(targets), rng.uniform(*fault.lasts)
        details = random.Random(rng.random())
        if busy.get(target, 0) <= at:
            busy[target] = at + lasts
            planned.append((at, fault, target, lasts, details))
    return planned


class Storm:
    """Does what was planned, as far as it is possible at that moment."""

    def __init__(self, cluster, planned):
        self.cluster, self.servers, self.planned = cluster, cluster.servers, planned
        self.frozen_slots, self.counts, self.hits, self.kind = {}, {}, [], None

    def hit(self, worker):
        """For the gaps: what this worker runs at this moment is about to be hit."""
        self.hits.append(self.cluster.history.note("hit", kind=self.kind, worker=worker))

    def blow(self):
        """Until the last fault has begun; those that last longer are ended by heal()."""
        began, queue, order = time.monotonic(), [], 0
        for at, fault, target, lasts, details in self.planned:
            heapq.heappush(queue, (at, order, fault, target, lasts, details))
            order += 1
        while queue:
            now = time.monotonic() - began
            if queue[0][0] > now:
                self.cluster.watch()
                time.sleep(min(0.03, queue[0][0] - now))
                continue
            _, _, fault, target, lasts, details = heapq.heappop(queue)
            if details is None:
                self._end(fault, target)
                continue
            self._begin(fault, target, lasts, details)
            if fault.end:
                heapq.heappush(queue, (now + lasts, order, fault, target, 0, None))
                order += 1

    def _begin(self, fault, target, lasts, details):
        self.kind = fault.kind
        self.cluster.history.note("fault", kind=fault.kind, target=target, lasts=round(lasts, 2))
        try:
            fault.begin(self, target, details)
        except (OSError, subprocess.SubprocessError) as error:
            self.cluster.history.note("fault failed", kind=fault.kind, why=str(error))
            return
        self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1

    def _end(self, fault, target):
        self.cluster.history.note("mended", kind=fault.kind, target=target)
        try:
            fault.end(self, target)
        except (OSError, subprocess.SubprocessError) as error:
            self.cluster.history.note("mend failed", kind=fault.kind, why=str(error))

    def _end_limits(self):
        """The one connection beyond the limit may still be somebody else's."""
        until = time.monotonic() + 30
        while not self.servers.root_sql("SET GLOBAL read_only = 0, GLOBAL max_connections = 200"):
            if time.monotonic() > until:
                raise AssertionError("the database kept the limits of a fault")
            time.sleep(0.2)

    def heal(self):
        for name in list(self.frozen_slots):
            thaw_slot(self, name)
        if self.servers:
            self.servers.thaw()
            self.servers.join_jobs()
            self.servers.thaw()
            self._end_limits()
            if "broker out of memory" in self.counts:
                self.servers.rabbitmqctl("set_vm_memory_high_watermark", "0.4")
        self.cluster.heal()
