"""What bad input gets: a clear problem answer or a FAILED task with a sentence that a user
understands; no temporary file stays, and nothing is accepted that is not kept."""

import json

from faults import Proxy, small_disk
from support import (EXAMPLE, UNKNOWN_ID, UPLOAD, Case, HandWorker, Manager, Worker,
                     fresh_database, main, multipart, only_on, start_pair, temp_dir, wait_until)

HEADER = b"Song,Date,Number of Plays\n"
LIMIT = 1 << 20


def form(*parts, end=True):
    body, headers = multipart(*parts, end=end)
    return lambda m: m.call("POST", UPLOAD, body, headers)


def raw(content, content_type="text/csv", query=""):
    return lambda m: m.call("POST", UPLOAD + query, content, {"Content-Type": content_type})


def pieces(size):
    return lambda m: m.call("POST", UPLOAD, (b"x" * 4096 for _ in range(size // 4096)),
                            {"Content-Type": "text/csv"})


def submit(body, content_type="application/json"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda m: m.call("POST", "/v1/tasks", body, {"Content-Type": content_type})


def get(path):
    return lambda m: m.get(path)


def broken_off(m):
    """The client goes away in the middle: nobody hears the answer."""
    body, headers = multipart(("file", "plays.csv", EXAMPLE * 1000))
    with m.connect() as sock:
        sock.sendall(f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                     f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body[:20000])


# what -> the request, the status of its answer, the short text, a piece of the sentence
REFUSED = {
    "no file part": (form(("other", None, b"x")), 400, "No file provided", "file"),
    "a file part without a name": (form(("file", "", b"")), 400, "No selected file", "name"),
    "an empty file in a form": (form(("file", "a.csv", b"")), 400, None, "empty"),
    "an empty body": (raw(b""), 400, None, "empty"),
    "two file parts": (form(("file", "a.csv", EXAMPLE), ("file", "b.csv", EXAMPLE)), 400, None,
                       "more than one file"),
    "a file under another name": (form(("upload", "a.csv", EXAMPLE)), 400, None, "named"),
    "a truncated form": (form(("file", "a.csv", EXAMPLE), end=False), 400, None, "multipart"),
    "a form without a boundary": (raw(EXAMPLE, "multipart/form-data"), 400, None, "boundary"),
    "a form that is none": (raw(EXAMPLE, "multipart/form-data; boundary=x"), 400, None,
                            "multipart"),
    "a wrong Content-Type": (raw(b"{}", "application/json"), 415, None, "Content-Type"),
    "too large by its Content-Length": (raw(b"x" * (LIMIT + 1)), 413, "File too large", "limit"),
    "too large in a form": (form(("file", "a.csv", b"x" * (LIMIT + 1))), 413, "File too large",
                            "limit"),
    "too large while it comes": (pieces(LIMIT + 65536), 413, "File too large", "limit"),
    "an unknown choice": (raw(EXAMPLE, query="?on_bad_row=ignore"), 400, None, "on_bad_row"),
    "an unknown parameter": (raw(EXAMPLE, query="?colour=red"), 400, None, "colour"),
    "a queue that is no name": (raw(EXAMPLE, query="?queue=a%20b"), 400, None, "queue"),
    "an unknown id": (get(f"/v1/tasks/status/{UNKNOWN_ID}"), 404, "Not found", UNKNOWN_ID),
    "an unknown id to show": (get(f"/v1/tasks/{UNKNOWN_ID}"), 404, "Not found", UNKNOWN_ID),
    "an unknown id to download": (get(f"/v1/data_processor/download/{UNKNOWN_ID}"), 404,
                                  "Not found", UNKNOWN_ID),
    "a malformed id": (get("/v1/tasks/status/123"), 400, "Malformed task id", "36 characters"),
    "an id in upper case": (get(f"/v1/tasks/{UNKNOWN_ID.upper()}"), 400, "Malformed task id",
                            "lower-case"),
    "malformed JSON": (submit(b'{"type": "noop"'), 400, None, "JSON"),
    "no JSON at all": (submit(b""), 400, None, ""),
    "JSON that is no object": (submit([1]), 400, None, "object"),
    "JSON with a member twice": (submit(b'{"type":"noop","type":"noop"}'), 400, None, ""),
    "JSON that is not UTF-8": (submit(b'{"type":"\xff"}'), 400, None, ""),
    "JSON of another Content-Type": (submit({"type": "noop"}, "text/plain"), 415, None,
                                     "application/json"),
    "a deeply nested JSON": (submit(b'{"type":"noop","params":' + b"[" * 5000), 400, None, ""),
    "a JSON body that is too large": (submit({"type": "noop", "queue": "x" * 70000}), 413,
                                      "Body too large", "limit"),
    "unknown members": (submit({"type": "noop", "colour": "red"}), 400, None, "colour"),
    "a missing member": (submit({"params": {}}), 400, None, "type"),
    "an unknown task type": (submit({"type": "nothing"}), 400, None, "nothing"),
    "a file's type without a file": (submit({"type": "csv_plays"}), 400, None, "upload"),
    "an unknown job parameter": (submit({"type": "noop", "params": {"speed": 1}}), 400, None,
                                 "speed"),
    "a job parameter of a wrong kind": (submit({"type": "noop", "params": {"sleep_ms": "1"}}), 400,
                                        None, "sleep_ms"),
    "a priority beyond the limit": (submit({"type": "noop", "priority": 1001}), 400, None,
                                    "priority"),
    "no attempts": (submit({"type": "noop", "max_attempts": 0}), 400, None, "max_attempts"),
    "a time that is none": (submit({"type": "noop", "run_at": "tomorrow"}), 400, None, "run_at"),
}

# what -> the file, a piece of the sentence
FAILED = {
    "a missing column": (b"Song,Date\nUmbrella,2020-01-01\n", "Number of Plays"),
    "a column twice": (b"Song,Date,Date,Number of Plays\n", "Date"),
    "no CSV at all": (b"\x00\x01\x02\x03", ""),
    "a bad date": (HEADER + b"Umbrella,2020-01-01,1\nUmbrella,2020-02-30,1\n", "line 3"),
    "a date in another form": (HEADER + b"Umbrella,01.02.2020,1\n", "line 2"),
    "a negative count": (HEADER + b"Umbrella,2020-01-01,-5\n", "line 2"),
    "a count with a fraction": (HEADER + b"Umbrella,2020-01-01,1.5\n", "line 2"),
    "a huge count": (HEADER + b"Umbrella,2020-01-01," + b"9" * 60 + b"\n", ""),
    "invalid UTF-8": (HEADER + b"Umbr\xffella,2020-01-01,1\n", "line 2"),
    "an empty song": (HEADER + b",2020-01-01,1\n", "line 2"),
    "a row too short": (HEADER + b"Umbrella,2020-01-01\n", "line 2"),
    "a quote without its end": (HEADER + b'"Umbrella,2020-01-01,1\n', "line 2"),
    "a broken gzip": (b"\x1f\x8b\x08\x00broken", ""),
    "only empty lines": (b"\n\n\n", ""),
}


class BadInput(Case):
    @classmethod
    def setUpClass(cls):
        cls.manager = start_pair(cls, MAX_UPLOAD_BYTES="1M")

    def test_every_bad_request_gets_a_clear_problem_answer_and_leaves_nothing(self):
        before = {task["id"] for task in self.manager.tasks()}
        for what, (request, status, error, says) in REFUSED.items():
            with self.subTest(what):
                self.assert_problem(request(self.manager), status, error, says)
        broken_off(self.manager)
        self.manager.wait_clean()
        self.assertEqual({task["id"] for task in self.manager.tasks()}, before)

    def test_every_bad_file_gets_a_failed_task_with_a_sentence(self):
        tasks = {what: self.manager.upload(content) for what, (content, _) in FAILED.items()}
        for what, task_id in tasks.items():
            with self.subTest(what):
                status = self.manager.wait_status(task_id, "FAILED")
                self.assertEqual(status["error_class"], "input", status)
                self.assertIn(FAILED[what][1], status["error"])
                self.assertGreater(len(status["error"].split()), 3, status)
                task = self.manager.show(task_id)
                self.assertEqual(len(task["attempts"]), 1)
                self.assertIsNone(task["file_output_path"])
        self.manager.wait_clean()
        self.assertEqual({key for key in self.manager.stored()
                          for task_id in tasks.values() if task_id in key}, set())

    def test_bad_worker_calls_are_refused(self):
        unknown = {"task_id": UNKNOWN_ID, "token": "0" * 32}
        for path, body, status in (
                ("claim", {}, 400), ("claim", {"worker": "w"}, 400),
                ("claim", {"worker": "w", "queues": ["q"], "limit": 0}, 400),
                ("claim", {"worker": "w", "queues": ["q"], "wait_ms": 999999}, 400),
                ("claim", {"worker": "w", "queues": ["q"], "colour": "red"}, 400),
                ("claim", {"worker": "", "queues": ["q"]}, 400),
                ("heartbeat", {"worker": "w"}, 400),
                ("report", {"worker": "w", "reports": [{**unknown, "outcome": "nice"}]}, 400)):
            with self.subTest(f"{path} {body}"):
                self.assert_problem(self.manager.post(f"/v1/worker/{path}", body), status)


class FullBacklog(Case):
    def test_beyond_the_backlog_submits_get_429(self):
        manager = Manager(self, MAX_QUEUED=3).start()
        kept = [manager.submit() for _ in range(3)]

        def refused():
            answer = manager.post("/v1/tasks", {"type": "noop"})
            if answer.status == 202:
                kept.append(answer.json["task_id"])
            return answer if answer.status != 202 else None
        answer = wait_until(refused, "the backlog to be full")
        self.assert_problem(answer, 429)
        self.assertTrue(answer.headers["Retry-After"])
        answer = manager.call("POST", UPLOAD, EXAMPLE, {"Content-Type": "text/csv"})
        self.assert_problem(answer, 429)
        self.assertEqual({task["id"] for task in manager.tasks()}, set(kept))
        manager.wait_clean()
        for task_id in kept:
            manager.call("DELETE", f"/v1/tasks/{task_id}")
        wait_until(lambda: manager.post("/v1/tasks", {"type": "noop"}).status == 202,
                   "submits to be accepted again")


@only_on("mysql", "SQLite is a file beside the program: see the full disk")
class DatabaseDown(Case):
    def test_without_a_database_nothing_is_accepted_and_nothing_lost(self):
        cwd = temp_dir(self)
        proxy = Proxy(self, fresh_database(self, cwd))
        manager = Manager(self, cwd, DATABASE_URL=proxy.url).start()
        kept = [manager.submit(), manager.upload(EXAMPLE)]
        proxy.cut()
        for answer in (manager.post("/v1/tasks", {"type": "noop"}),
                       manager.call("POST", UPLOAD, EXAMPLE, {"Content-Type": "text/csv"}),
                       manager.get(f"/v1/tasks/{kept[0]}"),
                       manager.post("/v1/worker/claim", {"worker": "w", "queues": ["default"]})):
            self.assert_problem(answer, 503, says="the database cannot be reached")
            self.assertTrue(answer.headers["Retry-After"])
        self.assertEqual(manager.metric("segue_store_errors_total"), 4)
        proxy.mend()
        wait_until(lambda: manager.get("/readyz").status == 200, "the manager to recover")
        self.assertEqual({task["id"] for task in manager.tasks()}, set(kept))
        manager.wait_clean()
        kept.append(manager.upload(EXAMPLE))
        Worker(self, manager).start()
        for task_id in kept:
            manager.wait_status(task_id, "DONE")


class FullDisk(Case):
    def test_an_upload_that_would_fill_the_disk_gets_507_at_once(self):
        disk = small_disk(self, "64M")
        manager = Manager(self, STORAGE_URL=f"file:{disk}/store", MIN_FREE_BYTES="16M").start()
        head = (f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                f"Content-Length: {60 << 20}\r\n\r\n")
        self.assert_problem(manager.raw(head.encode()), 507)
        manager.wait_clean()

    def test_an_upload_that_fills_the_disk_gets_507_and_leaves_nothing(self):
        disk = small_disk(self, "32M")
        manager = Manager(self, STORAGE_URL=f"file:{disk}/store", MIN_FREE_BYTES="0").start()
        pieces = (b"x" * 65536 for _ in range(640))
        self.assert_problem(manager.call("POST", UPLOAD, pieces, {"Content-Type": "text/csv"}),
                            507)
        manager.wait_clean()
        self.assertEqual(manager.tasks(), [])
        manager.wait_status(manager.upload(EXAMPLE), "RECEIVED")  # there is room again

    def test_readiness_tells_of_a_disk_that_is_low(self):
        disk = small_disk(self, "16M")
        manager = Manager(self, STORAGE_URL=f"file:{disk}/store", MIN_FREE_BYTES="8M").start()
        (disk / "ballast").write_bytes(b"x" * (10 << 20))
        answer = manager.get("/readyz")
        self.assertEqual((answer.status, answer.json["status"]), (503, "not ready"))
        self.assertEqual(answer.json["disk"], "low")  # how low is for the log
        self.assertIn("bytes are free", manager.wait_log("http.not_ready"))
        self.assertEqual(manager.get("/healthz").status, 200)

    def test_a_job_that_finds_no_room_fails_with_a_sentence(self):
        disk = small_disk(self, "16M")
        manager = Manager(self, STORAGE_URL=f"file:{disk}/store", MIN_FREE_BYTES="0",
                          MAX_ATTEMPTS=1).start()
        rows = b"".join(b"Song %06d,2020-01-01,1\n" % i for i in range(100_000))
        task_id = manager.upload(HEADER + rows)
        fill(disk / "ballast")
        Worker(self, manager).start()
        status = manager.wait_status(task_id, "FAILED")
        self.assertEqual(status["error_class"], "transient")
        self.assertIn("No space left", status["error"])
        manager.wait_clean()
        (disk / "ballast").unlink()
        manager.call("POST", f"/v1/tasks/{task_id}/retry")
        manager.wait_status(task_id, "DONE")

    @only_on("sqlite", "MariaDB's disk is not ours to fill")
    def test_a_database_that_cannot_write_accepts_nothing(self):
        disk = small_disk(self, "8M")
        manager = Manager(self, DATABASE_URL=f"sqlite:{disk}/segue.db").start()
        kept = [manager.submit()]
        fill(disk / "ballast")

        def refused():
            answer = manager.post("/v1/tasks", {"type": "noop", "queue": manager.queue})
            if answer.status == 202:
                kept.append(answer.json["task_id"])
            return answer if answer.status != 202 else None
        answer = wait_until(refused, "the database to be full")
        self.assertIn(answer.status, (503, 507))
        self.assert_problem(answer, answer.status)
        answer = manager.call("POST", UPLOAD, EXAMPLE, {"Content-Type": "text/csv"})
        self.assertIn(answer.status, (503, 507))
        self.assertEqual({task["id"] for task in manager.tasks()}, set(kept))
        manager.wait_clean()
        (disk / "ballast").unlink()
        kept.append(manager.submit())
        for _ in kept:
            worker = HandWorker(manager)
            worker.report(worker.claim_one())
        self.assertEqual({task["status"] for task in manager.tasks()}, {"DONE"})


def fill(path):
    """Writes until the disk has no byte left."""
    with open(path, "wb", buffering=0) as out:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    out.write(b"x" * size)
            except OSError:
                pass


if __name__ == "__main__":
    main()
