"""smoke.py - does a running Segue do what it is for? Uploads, and looks at what comes back.

    smoke.py        at TASK_MANAGER_URL (default http://127.0.0.1:5000); exits 0 or 1

In the image segue/test: `docker compose run --rm test`. drive.py uses its client.
"""

import collections
import http.client
import json
import os
import random
import sys
import time
import urllib.parse
import uuid

UPLOAD = "/v1/data_processor/upload"
SAMPLE = (b"Song,Date,Number of Plays\nUmbrella,2020-01-02,200\nUmbrella,2020-01-01,100\n"
          b"In The End,2020-01-01,500\nUmbrella,2020-01-01,50\nIn The End,2020-01-01,1000\n"
          b"Umbrella,2020-01-02,50\nIn The End,2020-01-02,500\n")
SAMPLE_TOTALS = (b"Song,Date,Number of Plays\nIn The End,2020-01-01,1500\n"
                 b"In The End,2020-01-02,500\nUmbrella,2020-01-01,150\n"
                 b"Umbrella,2020-01-02,250\n")
ENDS = ("DONE", "FAILED", "CANCELLED")


def make_csv(rows, seed):
    """A CSV and the totals that have to come of it, summed here once more."""
    draw, sums = random.Random(seed), collections.Counter()
    lines = ["Song,Date,Number of Plays"]
    for _ in range(rows):
        song = f"Song {draw.randrange(40)}"
        day = f"2024-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}"
        plays = draw.randrange(100000)
        lines.append(f"{song},{day},{plays}")
        sums[(song.encode(), day)] += plays
    totals = b"Song,Date,Number of Plays\n" + b"".join(
        b"%s,%s,%d\n" % (song, day.encode(), sums[song, day]) for song, day in sorted(sums))
    return ("\n".join(lines) + "\n").encode(), totals


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """Calls on connections of their own. What may pass (no connection, 429, 503, and 502 and
    504 of a proxy) is tried again for `patience` seconds: whatever must not happen twice is sent with a key."""

    def __init__(self, url, patience=60):
        at = urllib.parse.urlsplit(url)
        self.address, self.patience = (at.hostname, at.port or 80), patience
        self.retries = 0

    def once(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def call(self, method, path, body=None, headers=None):
        until = time.monotonic() + self.patience
        while True:
            try:
                answer = self.once(method, path, body, headers)
                if answer.status not in (429, 502, 503, 504):
                    return answer
                why = f"{answer.status} {answer.body[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                why = repr(error)
            if time.monotonic() > until:
                raise AssertionError(f"{method} {path}: {why} for {self.patience} s")
            self.retries += 1
            time.sleep(0.1)

    def accept(self, path, body, headers):
        """A submit that is repeated under its key until it is accepted -> the task's id."""
        answer = self.call("POST", path, body, {"Idempotency-Key": uuid.uuid4().hex, **headers})
        assert answer.status == 202, f"{answer.status} {answer.body!r}"
        return answer.json["task_id"]

    def upload(self, content):
        return self.accept(UPLOAD, content, {"Content-Type": "text/csv"})

    def noop(self, **params):
        body = json.dumps({"type": "noop", "params": params}).encode()
        return self.accept("/v1/tasks", body, {"Content-Type": "application/json"})

    def task(self, task_id):
        answer = self.call("GET", f"/v1/tasks/{task_id}")
        assert answer.status == 200, f"{task_id}: {answer.status} {answer.body!r}"
        return answer.json

    def wait_end(self, task_id, seconds=60):
        until = time.monotonic() + seconds
        while True:
            task = self.task(task_id)
            if task["status"] in ENDS:
                return task
            assert time.monotonic() < until, f"{task_id} is {task['status']} after {seconds} s"
            time.sleep(0.05)

    def download(self, task_id):
        answer = self.call("GET", f"/v1/data_processor/download/{task_id}")
        assert answer.status == 200, f"{task_id}: {answer.status} {answer.body!r}"
        return answer.body


def check(client):
    task_id = client.upload(SAMPLE)
    assert client.wait_end(task_id)["status"] == "DONE"
    assert client.download(task_id) == SAMPLE_TOTALS, "the totals of the sample are wrong"
    for seed, rows in enumerate((0, 1, 1000, 200000)):
        content, totals = make_csv(rows, seed)
        task_id = client.upload(content)
        task = client.wait_end(task_id)
        assert task["status"] == "DONE", task
        assert client.download(task_id) == totals, f"the totals of {rows} rows are wrong"
    task = client.wait_end(client.upload(b"Song,Date,Number of Plays\nA,2024-02-30,1\n"))
    assert task["status"] == "FAILED" and task["error"]["class"] == "input", task
    assert client.wait_end(client.noop())["status"] == "DONE"


def main():
    url = os.environ.get("TASK_MANAGER_URL", "http://127.0.0.1:5000")
    try:
        check(Client(url))
    except AssertionError as error:
        print(f"smoke: {url}: {error}", file=sys.stderr)
        return 1
    print(f"smoke: {url}: every result was right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
