"""load.py - the clients: they submit, cancel, look and download while everything breaks, and
keep account of what they asked for and what they were told."""

import base64
import gzip
import http.client
import json
import random
import secrets
import threading
import time
import urllib.parse

import differential
import oracle
from support import UPLOAD, multipart

TERMINAL = ("DONE", "FAILED", "CANCELLED")
ANSWER_WITHIN = 20  # seconds; a client's patience with one request
RESOLVE_WITHIN = 180  # seconds; a repeat with the same key has been answered by then


class Ask:
    """One thing that a client wants done, however many requests it takes to say so."""

    def __init__(self, kind, ends, **members):
        self.kind = kind    # "csv" or "noop"
        self.ends = ends    # how it may end when nothing disturbs it: ("DONE",), ("FAILED", class)
        self.name = None    # of an upload; no other has it
        self.file = None
        self.key = None     # Idempotency-Key
        self.ids = []       # that answers with 202 named
        self.is_unknown = False     # some answer got lost
        self.told_cancelled = False
        self.cancel_tried = False
        self.seen = None    # the first terminal state that somebody saw
        self.retried = False        # by hand
        self.members = members


class File:
    """A CSV and what the contract says about it."""

    def __init__(self, content, skip, packed=False):
        self.content = gzip.compress(content) if packed else content
        self.skip, self.totals, self.rejects = skip, None, None
        try:
            self.totals, self.rejects = oracle.aggregate(content, skip)
            if self.rejects.count(b"\n") == 1:
                self.rejects = None
        except oracle.BadInput as error:
            self.error = error.args[0].decode()

    @property
    def ends(self):
        return ("DONE",) if self.totals is not None else ("FAILED", "input")


def good_csv(rng, rows):
    songs = [f"Song {i}" for i in range(1, 2 + rows // 10)]
    lines = ["Song,Date,Number of Plays"]
    for _ in range(rows):
        lines.append(f"{rng.choice(songs)},2024-0{rng.randint(1, 9)}-{rng.randint(10, 28)},"
                     f"{rng.randint(0, 10 ** rng.randint(1, 12))}")
    return "\n".join(lines).encode() + b"\n"


def make_files(seed):
    rng = random.Random(f"files {seed}")
    files = [File(good_csv(rng, int(10 ** rng.uniform(0, 3.3))), False, rng.random() < 0.2)
             for _ in range(12)]
    files.append(File(good_csv(rng, 20_000), False))
    for _ in range(12):
        content = b""
        while not content.strip():
            content = differential.hostile(rng)
        files.append(File(content, rng.random() < 0.6))
    for word in ("x", "-1", "2024-02-30"):
        files.append(File(good_csv(rng, 50) + f"last,2024-01-01,{word}\n".encode(), False))
    return files


NOOPS = [  # weight, params, other members, ends
    (7, {}, {}, ("DONE",)),
    (3, {}, {"priority": (-5, 5)}, ("DONE",)),
    (10, {"sleep_ms": (50, 1500)}, {}, ("DONE",)),
    (2, {"sleep_ms": (2000, 5000)}, {}, ("DONE",)),
    (3, {"fail": "input"}, {}, ("FAILED", "input")),
    (3, {"fail": "transient", "fail_attempts": (1, 2)}, {}, ("DONE",)),
    (2, {"fail": "transient"}, {"max_attempts": 2}, ("FAILED", "transient")),
    (3, {"crash": ("abort", "segv", "kill", "exit"), "crash_attempts": 1}, {}, ("DONE",)),
    (1, {"crash": ("abort", "segv", "kill", "exit")}, {"max_attempts": 2}, ("FAILED", "crash")),
    (2, {"sleep_ms": 60000}, {"timeout_s": 1, "max_attempts": 2}, ("FAILED", "timeout")),
    (3, {"sleep_ms": (0, 300)}, {"max_attempts": 1}, ("DONE",)),
    (3, {}, {"run_in": (0.5, 4)}, ("DONE",)),
]


def pick(rng, value):
    if not isinstance(value, tuple):
        return value
    if isinstance(value[0], str):
        return rng.choice(value)
    return rng.uniform(*value) if isinstance(value[0], float) else rng.randint(*value)


class Client(threading.Thread):
    """One of several; they share the list `asks`, to cancel and to look at each other's."""

    def __init__(self, number, seed, addresses, queue, files, asks, history):
        super().__init__(name=f"client {number}", daemon=True)
        self.rng = random.Random(f"client {number} {seed}")
        self.addresses, self.queue, self.files = addresses, queue, files
        self.asks, self.history = asks, history
        self.stopping, self.broken, self.error = threading.Event(), [], None

    def run(self):
        try:
            while not self.stopping.is_set():
                deeds, weights = zip(*[(self.upload, 6), (self.noop, 8), (self.cancel, 2),
                                       (self.look, 6), (self.retry, 1)])
                self.rng.choices(deeds, weights)[0]()
                self.stopping.wait(self.rng.expovariate(6))
        except Exception as error:  # pylint: disable=broad-except
            self.error = error
            raise

    def _blame(self, text):
        self.history.note("problem", text=text)
        self.broken.append(text)

    def _request(self, method, path, body=None, headers=None):
        """-> status, body; None when there was no whole answer."""
        connection = http.client.HTTPConnection(*self.rng.choice(self.addresses),
                                                timeout=ANSWER_WITHIN)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            body = answer.read()
            # http.client takes a header that was cut off for a short one
            return (answer.status, body) if answer.getheader("Content-Length") else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    # submitting

    def _submit(self, ask, path, body, headers):
        if self.rng.random() < 0.5:
            ask.key = secrets.token_hex(8)
            headers["Idempotency-Key"] = ask.key
        self.asks.append(ask)
        until, repeats = None, 0
        while True:
            got = self._request("POST", path, body, headers)
            self.history.note("submit", name=ask.name, key=ask.key, status=got and got[0],
                              said=got and got[1].decode(errors="replace")[:300])
            if got and got[0] == 202:
                ask.ids.append(json.loads(got[1])["task_id"])
                repeats += 1
                if not ask.key or repeats == 3 or self.rng.random() < 0.7:
                    return
            elif got is None or got[0] >= 500 or got[0] == 429:
                ask.is_unknown = ask.is_unknown or got is None or got[0] != 429
            elif not self._is_truncated(got):
                self._blame(f"a good request was refused: {got}")
                return
            if not ask.key or (ask.ids and not (got and got[0] == 202)):
                return
            if self.stopping.is_set():  # all is healed: now it must work
                until = until or time.monotonic() + RESOLVE_WITHIN
                if time.monotonic() > until:
                    self._blame(f"the key {ask.key} gets no answer: {got}")
                    return
            time.sleep(self.rng.uniform(0.05, 0.4))

    @staticmethod
    def _is_truncated(got):
        """What a proxy cut off looks like a bad or a slow request to the manager."""
        return got[0] in (400, 408)

    def upload(self):
        file = self.rng.choice(self.files)
        ask = Ask("csv", file.ends)
        ask.file, ask.name = file, f"{secrets.token_hex(8)}.csv"
        query = {"queue": self.queue, "on_bad_row": "skip" if file.skip else "fail"}
        if self.rng.random() < 0.3:
            body, headers = multipart(("file", ask.name, file.content))
        else:
            query["filename"] = ask.name
            body, headers = file.content, {"Content-Type": "text/csv"}
        self._submit(ask, f"{UPLOAD}?{urllib.parse.urlencode(query)}", body, headers)

    def noop(self):
        _, params, members, ends = self.rng.choices(NOOPS, [n[0] for n in NOOPS])[0]
        params = {name: pick(self.rng, value) for name, value in params.items()}
        members = {name: pick(self.rng, value) for name, value in members.items()}
        if "run_in" in members:
            at = time.time() + members.pop("run_in")
            members["run_at"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + "Z"
        ask = Ask("noop", ends, **params, **members)
        body = json.dumps({"type": "noop", "queue": self.queue, "params": params, **members})
        self._submit(ask, "/v1/tasks", body.encode(), {"Content-Type": "application/json"})

    # everything else

    def _some(self):
        """A task that somebody was told about, rather a late one."""
        known = [ask for ask in self.asks[-60:] if ask.ids]
        return self.rng.choice(known) if known else None

    def cancel(self):
        ask = self._some()
        if ask is None:
            return
        ask.cancel_tried = True
        got = self._request("DELETE", f"/v1/tasks/{ask.ids[0]}")
        self.history.note("cancel", id=ask.ids[0], status=got and got[0])
        if got and got[0] == 200:
            ask.told_cancelled = True

    def retry(self):
        ask = self._some()
        if ask is None or ask.seen != "FAILED":
            return
        ask.retried = True
        got = self._request("POST", f"/v1/tasks/{ask.ids[0]}/retry")
        self.history.note("retry", id=ask.ids[0], status=got and got[0])

    def look(self):
        ask = self._some()
        if ask is None:
            return
        got = self._request("GET", f"/v1/tasks/status/{ask.ids[0]}")
        if not got or got[0] >= 500 or got[0] == 408:
            return
        if got[0] != 200:
            self._blame(f"task {ask.ids[0]} was accepted and now is {got}")
            return
        state = json.loads(got[1])["status"]
        if ask.seen and state != ask.seen and not ask.retried:
            self._blame(f"task {ask.ids[0]} was {ask.seen} and now is {state}")
        if state in TERMINAL:
            if not ask.seen:
                self.history.note("seen", id=ask.ids[0], state=state)
            ask.seen = state
        if state == "DONE" and ask.file:
            self.compare_download(ask)

    def compare_download(self, ask):
        """A whole answer with 200 is the right one, whatever happens meanwhile."""
        got = self._request("GET", f"/v1/data_processor/download/{ask.ids[0]}")
        if got and got[0] == 200 and got[1] != ask.file.totals:
            self._blame(f"the download of {ask.ids[0]} is wrong: "
                        f"{base64.b64encode(got[1][:200]).decode()}")
        return got and got[0]


class Zombie(Client):
    """A worker by hand that claims a task, falls silent past its lease, and reports all the same;
    or that reports in time, but twice."""

    def __init__(self, *args):
        super().__init__(*args)
        self.stale = 0  # reports that were refused as such

    def run(self):
        try:
            while not self.stopping.is_set():
                self.stopping.wait(self.rng.uniform(0.2, 0.8))
                self.haunt()
        except Exception as error:  # pylint: disable=broad-except
            self.error = error
            raise

    def _post(self, path, **members):
        got = self._request("POST", f"/v1/worker/{path}", json.dumps(
            {"worker": "zombie", **members}), {"Content-Type": "application/json"})
        self.history.note("zombie", path=path, sent=members, status=got and got[0],
                          said=got and got[1].decode(errors="replace")[:300])
        return json.loads(got[1]) if got and got[0] in (200, 409) else None

    def haunt(self):
        known = [ask for ask in self.asks[-20:]
                 if ask.ids and ask.kind == "noop" and ask.ends == ("DONE",)]
        if not known:
            return
        claim = self._post("claim", task_id=self.rng.choice(known).ids[0])
        if not claim or not claim["tasks"]:
            return
        work = claim["tasks"][0]
        report = {"task_id": work["task_id"], "token": work["token"], "outcome": "done"}
        if self.rng.random() < 0.6:
            self.stopping.wait(work["lease_ms"] / 1000 * self.rng.uniform(1, 3))
        for _ in range(2):
            answer = self._post("report", reports=[report])
            for verdict in (answer or {}).get("reports", []):
                self.stale += verdict["status"] == "stale"


def start_clients(count, seed, cluster, files, asks):
    args = (seed, cluster.addresses(), cluster.queue, files, asks, cluster.history)
    clients = [Client(i, *args) for i in range(count)] + [Zombie("zombie", *args)]
    for client in clients:
        client.start()
    return clients
