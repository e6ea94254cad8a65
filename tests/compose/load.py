"""load.py - clients that never stop: every task that was accepted, and what has to come of it."""

import collections
import random
import threading
import time

from smoke import ENDS, make_csv


class Load:
    """Uploads and short sleeps from `clients` threads, each at a modest pace."""

    def __init__(self, client, clients=3, pause_s=0.1, seed=7):
        self.client, self.pause_s = client, pause_s
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.expected = {}  # id -> totals, or None for a task without a file
        self.errors = []
        self.contents = [make_csv(rows, seed + rows) for rows in (1, 20, 300, 2000, 20000)]
        self.threads = [threading.Thread(target=self._run, args=(seed + i,), daemon=True)
                        for i in range(clients)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def _run(self, seed):
        draw = random.Random(seed)
        try:
            while not self.stopped.is_set():
                self.one(draw)
                time.sleep(self.pause_s)
        except Exception as error:  # shown, and fails the test, in check()
            self.errors.append(error)

    def one(self, draw):
        if draw.random() < 0.1:
            totals, task_id = None, self.client.noop(sleep_ms=draw.randrange(20, 400))
        else:
            content, totals = draw.choices(self.contents, (4, 4, 4, 2, 1))[0]
            task_id = self.client.upload(content)
        with self.lock:
            self.expected[task_id] = totals

    def count(self):
        with self.lock:
            return len(self.expected)

    def check(self):
        if self.errors:
            raise AssertionError(f"a client gave up: {self.errors[0]!r}")

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), "a client hangs"
        self.check()


def list_tasks(client):
    """Every task there is, from the list, all pages."""
    path, tasks = "/v1/tasks?page_size=1000", []
    while path:
        page = client.call("GET", path).json
        tasks += page["tasks"]
        path = page["next_url"]
        if path and path.startswith("http"):
            path = "/" + path.split("/", 3)[3]
    return tasks


def wait_all_ended(client, seconds=120):
    until = time.monotonic() + seconds
    while True:
        open_ones = sum(client.call("GET", f"/v1/tasks?status={status}&page_size=1").json["count"]
                        for status in ("RECEIVED", "PROCESSING"))
        if open_ones == 0:
            return
        assert time.monotonic() < until, f"{open_ones} tasks have not ended after {seconds} s"
        time.sleep(0.2)


def verify(client, expected, ignore=()):
    """Each accepted task is there, ended once, well (but those in `ignore`), with the right
    bytes; and there is no other. Returns figures about the attempts."""
    tasks = {task["id"] for task in list_tasks(client)}
    assert tasks == set(expected), (f"{len(set(expected) - tasks)} accepted tasks are gone, "
                                    f"{len(tasks - set(expected))} nobody asked for")
    outcomes = collections.Counter()
    for task_id, totals in expected.items():
        if task_id in ignore:
            continue
        task = client.task(task_id)
        assert task["status"] == "DONE", f"{task_id} is {task['status']}: {task['error']}"
        ends = [event for event in task["events"] if event["to"] in ENDS]
        assert len(ends) == 1, f"{task_id} ended {len(ends)} times"
        outcome = collections.Counter(attempt["outcome"] for attempt in task["attempts"])
        assert outcome["done"] == 1, f"{task_id}: {task['attempts']}"
        outcomes += outcome
        if totals is not None:
            assert client.download(task_id) == totals, f"{task_id}: wrong bytes"
    return dict(outcomes)


def workers_of(client, task_ids):
    return {attempt["worker"] for task_id in task_ids for attempt in client.task(task_id)["attempts"]}
