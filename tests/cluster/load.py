"""load.py - a steady load: clients that submit at a fixed pace, repeat under the same
Idempotency-Key until they are answered, and keep account of what they were told."""

import http.client
import json
import secrets
import threading
import time

ANSWER_WITHIN = 30  # seconds; a client's patience with one request
PAUSE = 0.25        # seconds before a repeat
CSV = (b"Song,Date,Number of Plays\nUmbrella,2020-01-02,200\nUmbrella,2020-01-01,100\n"
       b"In The End,2020-01-01,500\nUmbrella,2020-01-01,50\n")
TOTALS = (b"Song,Date,Number of Plays\nIn The End,2020-01-01,500\nUmbrella,2020-01-01,150\n"
          b"Umbrella,2020-01-02,200\n")
LOST = (OSError, http.client.HTTPException)  # no answer, or half of one


def call(address, method, path, body=None, headers=None):
    """(status, headers, body) of one request on a connection of its own."""
    link = http.client.HTTPConnection(*address, timeout=ANSWER_WITHIN)
    try:
        link.request(method, path, body, headers or {})
        answer = link.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        link.close()


class Ask:
    """One task that a client wants, however many requests it takes to say so."""

    def __init__(self, kind, address, due):
        self.kind, self.address, self.due = kind, address, due
        self.key = secrets.token_hex(12)
        self.id, self.accepted_at = None, None


class Account:
    """What all clients of a stage were told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.asks, self.answers = [], {}  # answers: status or "no answer" -> how often
        self.hasty = 0      # 503 without Retry-After
        self.unseen = 0     # tasks that were not found right after they had been accepted
        self.looked = 0

    def note(self, what):
        with self.lock:
            self.answers[what] = self.answers.get(what, 0) + 1

    @property
    def accepted(self):
        return [a for a in self.asks if a.id]


class Client(threading.Thread):
    """Every `upload_each`-th task is an upload, the others do nothing."""

    def __init__(self, account, address, rate, seconds, upload_each=10, look=False):
        super().__init__(daemon=True)
        self.account, self.address, self.look = account, address, look
        self.rate, self.seconds, self.upload_each = rate, seconds, upload_each
        self.error = None

    def run(self):
        try:
            began = time.monotonic()
            for i in range(int(self.rate * self.seconds)):
                due = began + i / self.rate
                time.sleep(max(0, due - time.monotonic()))
                kind = "csv" if i % self.upload_each == 0 else "noop"
                self._submit(Ask(kind, self.address, due))
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def _submit(self, ask):
        with self.account.lock:
            self.account.asks.append(ask)
        until = time.monotonic() + 180
        while not self._try(ask):
            if time.monotonic() > until:
                raise TimeoutError("no 202 within 180 s")
            time.sleep(PAUSE)
        if self.look:
            self._look_at(ask)

    def _try(self, ask):
        headers = {"Idempotency-Key": ask.key}
        if ask.kind == "csv":
            path, body = "/v1/data_processor/upload", CSV
            headers["Content-Type"] = "text/csv"
        else:
            path, body = "/v1/tasks", json.dumps({"type": "noop"}).encode()
            headers["Content-Type"] = "application/json"
        try:
            status, told, answer = call(ask.address, "POST", path, body, headers)
        except LOST:
            self.account.note("no answer")
            return False
        self.account.note(status)
        if status == 503 and "Retry-After" not in told:
            self.account.hasty += 1
        if status == 202:
            ask.id, ask.accepted_at = json.loads(answer)["task_id"], time.monotonic()
        return status == 202

    def _look_at(self, ask):
        """Through the same address, but maybe another manager on another node."""
        try:
            status, _, _ = call(ask.address, "GET", f"/v1/tasks/{ask.id}")
        except LOST:
            return
        with self.account.lock:
            self.account.looked += status in (200, 404)
            self.account.unseen += status == 404


def start(account, addresses, rate, seconds, **options):
    """Three clients for each address share the rate."""
    clients = [Client(account, a, rate / (3 * len(addresses)), seconds, **options)
               for a in addresses for _ in range(3)]
    for client in clients:
        client.start()
    return clients
