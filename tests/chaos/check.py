"""check.py - what must be true once all is quiet. Looks into the database itself."""

import hashlib
import json
import re
import sqlite3
import subprocess
import urllib.parse
from collections import namedtuple
from pathlib import Path
from statistics import median

from processes import Trouble, wait_until
from support import SANITIZED, clean_environment

STATES = ("RECEIVED", "PROCESSING", "DONE", "FAILED", "CANCELLED")
ENDS = STATES[2:]
OUTCOMES = ("running", "done", "failed", "released", "lost", "cancelled")
CLASSES = ("", "input", "transient", "crash", "timeout", "cancelled")
MOVES = {("", "RECEIVED"), ("RECEIVED", "PROCESSING"), ("RECEIVED", "CANCELLED"),
         ("RECEIVED", "FAILED"), ("FAILED", "RECEIVED")} | {
    ("PROCESSING", state) for state in STATES if state != "PROCESSING"}

Task = namedtuple("Task", "id type state attempt max_attempts budget finished_ms input_name "
                  "input_key input_size output_key output_size output_sha256 error_class "
                  "error_code result")
Attempt = namedtuple("Attempt", "task_id number token worker started_ms ended_ms outcome "
                     "error_class signal")
Event = namedtuple("Event", "seq task_id at_ms before after attempt actor detail")

QUERIES = {
    "task": "SELECT {id}, type, state, attempt, max_attempts, budget, finished_ms, input_name,"
            " input_key, input_size, output_key, output_size, output_sha256, error_class,"
            " error_code, COALESCE(result, '') FROM task",
    "attempt": "SELECT {task_id}, number, token, worker, started_ms, ended_ms, outcome,"
               " error_class, {signal} FROM attempt ORDER BY task_id, number",
    "event": "SELECT seq, {task_id}, at_ms, from_state, to_state, attempt, actor, detail"
             " FROM event ORDER BY seq",
    "key": "SELECT idem_key, {task_id} FROM idempotency",
    "outbox": "SELECT COUNT(*) FROM outbox",
    "open": "SELECT COUNT(*) FROM task WHERE state < 2",
}


class Truth:
    """The tables."""

    def __init__(self, url):
        self.url = url

    def _rows(self, name):
        text = QUERIES[name]
        if self.url.startswith("sqlite:"):
            text = text.format(id="lower(hex(id))", task_id="lower(hex(task_id))",
                               signal="signal")
            path = self.url.removeprefix("sqlite:")
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as db:
                rows = [[str(c if not isinstance(c, bytes) else c.decode()) for c in row]
                        for row in db.execute(text)]
            db.close()
            return rows
        text = text.format(id="LOWER(HEX(id))", task_id="LOWER(HEX(task_id))",
                           signal="signal_number")
        at = urllib.parse.urlsplit(self.url)
        done = subprocess.run(
            ["mariadb", "--no-defaults", "--protocol=tcp", "-h", at.hostname, "-P",
             str(at.port), "-u", at.username, f"-p{at.password}", "--skip-ssl", "--batch",
             "--skip-column-names", at.path[1:], "-e", text],
            check=True, capture_output=True, timeout=120, env=clean_environment({}))
        lines = done.stdout.decode(errors="replace").split("\n")[:-1]
        return [[_plain(cell) for cell in line.split("\t")] for line in lines]

    def number(self, name):
        return int(self._rows(name)[0][0])

    def tasks(self):
        found = {}
        for row in self._rows("task"):
            task = Task(*row)
            task = task._replace(
                id=_uuid(task.id), state=STATES[int(task.state)], attempt=int(task.attempt),
                max_attempts=int(task.max_attempts), budget=int(task.budget),
                finished_ms=int(task.finished_ms), input_size=int(task.input_size),
                output_size=int(task.output_size), error_class=CLASSES[int(task.error_class)])
            found[task.id] = task
        return found

    def attempts(self):
        found = {}
        for row in self._rows("attempt"):
            a = Attempt(*row)
            a = a._replace(task_id=_uuid(a.task_id), number=int(a.number),
                           started_ms=int(a.started_ms), ended_ms=int(a.ended_ms),
                           outcome=OUTCOMES[int(a.outcome)],
                           error_class=CLASSES[int(a.error_class)], signal=int(a.signal))
            found.setdefault(a.task_id, []).append(a)
        return found

    def events(self):
        found = {}
        for row in self._rows("event"):
            e = Event(*row)
            e = e._replace(seq=int(e.seq), task_id=_uuid(e.task_id), at_ms=int(e.at_ms),
                           before=STATES[int(e.before)] if int(e.before) >= 0 else "",
                           after=STATES[int(e.after)], attempt=int(e.attempt))
            found.setdefault(e.task_id, []).append(e)
        return found

    def keys(self):
        return {key: _uuid(task_id) for key, task_id in self._rows("key")}


def _plain(cell):
    """mariadb --batch escapes these."""
    return re.sub(r"\\([nt0\\])", lambda m: {"n": "\n", "t": "\t", "0": "\0"}.get(m[1], m[1]),
                  cell)


def _uuid(h):
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class Findings:
    """What is wrong, by task where it is about one; and the figures."""

    def __init__(self):
        self.problems = []  # (text, task id or None)
        self.lost, self.doubled, self.ended_once = set(), set(), set()
        self.spent = 0  # tasks that would have been done but for their last attempt's bad luck
        self.gaps = []  # (seconds, kind of fault, task id)
        self.orphans = 0  # files that no task names

    def blame(self, text, task_id=None):
        self.problems.append((text, task_id))

    def gap(self):
        """The worst: seconds, kind of fault, task."""
        return max(self.gaps, default=(0.0, "none", ""))

    def recovery(self):
        """Median and worst after kill -9 of a worker; None when none was killed at work."""
        killed = [seconds for seconds, kind, _ in self.gaps if kind == "worker killed"]
        return (median(killed), max(killed)) if killed else None


class Checker:
    def __init__(self, cluster, asks, hits, findings, orphans):
        self.cluster, self.asks, self.hits, self.findings = cluster, asks, hits, findings
        self.orphans = orphans
        truth = Truth(cluster.database_url)
        self.tasks, self.attempts, self.events = truth.tasks(), truth.attempts(), truth.events()
        self.keys = truth.keys()

    def check(self):
        told = {task_id: ask for ask in self.asks for task_id in ask.ids}
        for task_id, ask in told.items():
            self._check_accepted(task_id, ask)
        for task_id, task in self.tasks.items():
            self._check_life(task)
            if task_id not in told and task.state not in ENDS:
                self.findings.blame("a task that no client knows of did not end", task_id)
        self._check_counts(told)
        self._check_keys()
        self._check_files()
        self._measure_gaps()

    # one task

    def _check_accepted(self, task_id, ask):
        blame = self.findings.blame
        task = self.tasks.get(task_id)
        if task is None or task.state not in ENDS:
            self.findings.lost.add(task_id)
            blame(f"lost: it was accepted and {'is gone' if task is None else task.state}",
                  task_id)
            return
        ends = [e for e in self.events.get(task_id, []) if e.after in ENDS]
        again = [e for e in self.events.get(task_id, [])
                 if (e.before, e.after) == ("FAILED", "RECEIVED")]
        if again and not ask.retried:
            blame("it was retried by hand, by nobody", task_id)
        if len(ends) != 1 + len(again):
            self.findings.doubled.add(task_id)
            blame(f"doubled: {len(ends)} terminal events", task_id)
        else:
            self.findings.ended_once.add(task_id)
        if ask.told_cancelled and task.state != "CANCELLED":
            blame(f"a client was told that it is cancelled; it is {task.state}", task_id)
        if task.state == "CANCELLED" and not ask.cancel_tried:
            blame("it is cancelled, which nobody wanted", task_id)
        if ask.seen and ask.seen != task.state and not ask.retried:
            blame(f"a client saw it {ask.seen}; it is {task.state}", task_id)
        self._check_end(task, ask)

    def _check_end(self, task, ask):
        if task.state == "CANCELLED":
            return
        if task.state == "DONE":
            if ask.ends != ("DONE",):
                # the one way out: whoever retried by hand has more attempts to offer
                self.findings.blame(f"it is DONE and should have ended {ask.ends}", task.id)
            elif ask.file:
                self._check_result(task, ask.file)
            return
        if ask.ends == ("FAILED", task.error_class):
            return
        if self._is_spent(task):
            self.findings.spent += 1
            return
        self.findings.blame(f"it is FAILED ({task.error_class}, {task.error_code}) and should "
                            f"have ended {ask.ends}", task.id)

    def _is_spent(self, task):
        """Did its last attempt fall to a fault? Workers that are lost, and children that are
        killed, cost attempts."""
        last = (self.attempts.get(task.id) or [None])[-1]
        return last is not None and (
            last.outcome == "lost" and task.attempt >= task.max_attempts
            or last.outcome == "failed" and last.error_class == "crash" and last.signal == 9)

    def _check_result(self, task, file):
        self._check_artifact(task.id, task.output_key, task.output_size, task.output_sha256,
                             file.totals)
        rejects = json.loads(task.result or "{}").get("rejects")
        if (rejects is not None) != (file.rejects is not None):
            self.findings.blame(f"its rejects are {rejects}", task.id)
        elif rejects:
            self._check_artifact(task.id, rejects["key"], rejects["size"], rejects["sha256"],
                                 file.rejects)

    def _check_artifact(self, task_id, key, size, digest, content):
        path = self.cluster.storage / key
        found = path.read_bytes() if path.is_file() else None
        if found is None:
            self.findings.blame(f"the file {key} is not there", task_id)
        elif found != content:
            self.findings.blame(f"the file {key} is not what the reference says", task_id)
        elif size != len(content) or digest != hashlib.sha256(content).hexdigest():
            self.findings.blame(f"size or digest of {key} in the database is wrong", task_id)

    def _check_life(self, task):
        """Events, attempts and the row tell the same story."""
        def blame(text):
            self.findings.blame(text, task.id)
        events, attempts = self.events.get(task.id, []), self.attempts.get(task.id, [])
        state, number = "", 0
        for e in events:
            if e.before != state or (e.before, e.after) not in MOVES:
                blame(f"event {e.seq} goes from {e.before} to {e.after}, the task was {state}")
            number += e.after == "PROCESSING"
            if e.attempt != number:
                blame(f"event {e.seq} speaks for attempt {e.attempt}, the latest is {number}")
            state = e.after
        if state != task.state:
            blame(f"the last event says {state}, the task {task.state}")
        if [a.number for a in attempts] != list(range(1, task.attempt + 1)) or \
                number != task.attempt:
            blame(f"attempts {[a.number for a in attempts]}, {number} claims, and the task "
                  f"says {task.attempt}")
        if task.attempt > task.max_attempts:
            blame(f"{task.attempt} attempts of {task.max_attempts}")
        released = sum(a.outcome == "released" for a in attempts)
        was_retried = any(e.before == "FAILED" for e in events)
        if not was_retried and task.max_attempts != task.budget + released:
            blame(f"max_attempts is {task.max_attempts}: {task.budget} and {released} hand-backs")
        if len({a.token for a in attempts}) != len(attempts):
            blame("two attempts have one token")
        self._check_owner(task, events, attempts, blame)
        self._check_attempts(task, attempts, blame)

    def _check_owner(self, task, events, attempts, blame):
        """Whoever ended an attempt was the one that held it: nothing stale was taken."""
        holders = {a.number: a.worker for a in attempts}
        for e in events:
            if e.before != "PROCESSING" or e.actor in ("client", "reaper"):
                continue
            if e.actor != holders.get(e.attempt):
                blame(f"event {e.seq}: {e.actor} ended attempt {e.attempt}, which "
                      f"{holders.get(e.attempt)} held")
        prefixes = (f"processed_data/{task.id}/{task.attempt}/",
                    f"processed_data/{task.id[-2:]}/{task.id}.{task.attempt}.")
        if task.output_key and not task.output_key.startswith(prefixes):
            blame(f"the output {task.output_key} is not the latest attempt's")

    def _check_attempts(self, task, attempts, blame):
        done = [a.number for a in attempts if a.outcome == "done"]
        if done != ([task.attempt] if task.state == "DONE" else []):
            blame(f"attempts {done} are done, the task is {task.state} after {task.attempt}")
        for a in attempts:
            if a.outcome == "running" or a.ended_ms < a.started_ms:
                blame(f"attempt {a.number} has not ended")
        for before, after in zip(attempts, attempts[1:]):
            if after.started_ms < before.ended_ms:
                blame(f"attempt {after.number} began before {before.number} had ended")

    # all of them

    def _check_counts(self, told):
        unknown = sum(ask.is_unknown and not ask.ids for ask in self.asks)
        extra = len(self.tasks) - len(told)
        if extra > unknown:
            self.findings.blame(f"{extra} tasks without an answer, and {unknown} requests")
        names = {}
        for task in self.tasks.values():
            if task.input_name:
                names.setdefault(task.input_name, []).append(task.id)
        for name, ids in names.items():
            if len(ids) > 1:
                keyed = any(ask.key and ask.name == name for ask in self.asks)
                self.findings.blame(f"one {'keyed ' if keyed else ''}upload made {ids}", ids[0])

    def _check_keys(self):
        for ask in self.asks:
            if len(set(ask.ids)) > 1:
                self.findings.blame(f"key {ask.key} was answered with {ask.ids}", ask.ids[0])
            if ask.key and ask.ids and self.keys.get(ask.key) != ask.ids[0]:
                self.findings.blame(f"key {ask.key} names {self.keys.get(ask.key)}, the client "
                                    f"was told {ask.ids[0]}", ask.ids[0])

    def named_files(self):
        named = {}
        for task in self.tasks.values():
            named[task.input_key] = named[task.output_key] = task.id
            rejects = json.loads(task.result or "{}").get("rejects")
            if rejects:
                named[rejects["key"]] = task.id
        named.pop("", None)
        return named

    def files(self):
        store = Path(self.cluster.storage)
        return {str(p.relative_to(store)) for p in store.rglob("*") if p.is_file()}

    def _check_files(self):
        named = self.named_files()
        for key in named.keys() - self.files():
            self.findings.blame(f"the file {key} is not there", named[key])
        if self.orphans == "forbid":
            try:
                wait_until(lambda: self.files() <= named.keys(), "orphans to be swept",
                           meanwhile=self.cluster.watch)
            except Trouble:
                left = sorted(self.files() - named.keys())
                self.findings.blame(f"{len(left)} files that no task names: {left[:5]}")
        self.findings.orphans = len(self.files() - named.keys())

    def _measure_gaps(self):
        """From a fault that hit a running attempt until the task ran again or ended."""
        for task_id, attempts in self.attempts.items():
            for i, a in enumerate(attempts):
                for hit in self.hits:
                    if hit["worker"] != a.worker or not a.started_ms <= hit["ms"] < a.ended_ms:
                        continue
                    if hit["kind"].startswith("slot") and not a.signal:
                        continue  # the other slot's
                    later = [b.started_ms for b in attempts[i + 1:i + 2]]
                    task = self.tasks[task_id]
                    if a.outcome in ("done", "cancelled") or not later:
                        later.append(max(a.ended_ms, 0 if later else task.finished_ms))
                    seconds = (min(later) - hit["ms"]) / 1000
                    self.findings.gaps.append((max(seconds, 0), hit["kind"], task_id))


def check_usage(cluster, findings):
    """Open files and memory of what lives long, near where they began."""
    slack_files, slack_bytes = 24, 64 << 20

    def fat():
        found = []
        for daemon in cluster.daemons:
            files, size = daemon.usage()
            if files > daemon.base[0] + slack_files:
                found.append(f"{daemon.name} has {files} files open, {daemon.base[0]} at first")
            if size > daemon.base[1] + slack_bytes and not SANITIZED:
                found.append(f"{daemon.name} uses {size >> 20} MiB, {daemon.base[1] >> 20} at "
                             "first")
        return found
    try:
        wait_until(lambda: not fat(), "files and memory to be given back",
                   meanwhile=cluster.watch)
    except Trouble:
        for text in fat():
            findings.blame(text)


def check_logs(cluster, findings):
    for daemon in cluster.daemons:
        log = daemon.log_path.read_text(errors="replace")
        found = re.search(r"(AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error"
                          r"|Assertion .* failed).*", log)
        if found:
            findings.blame(f"{daemon.log_path}: {found.group(0)}")
