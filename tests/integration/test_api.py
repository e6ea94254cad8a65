"""Every path of docs/api.md, in the words that clients of the old API read."""

import os

from support import (EXAMPLE, EXAMPLE_TOTALS, UNKNOWN_ID, UPLOAD, Case, HandWorker, Manager,
                     Worker, children, main, multipart, process_exists, sha256, wait_until)


class ApiCase(Case):
    @classmethod
    def setUpClass(cls):
        cls.manager = Manager(cls, MAX_UPLOAD_BYTES="1M").start()
        cls.worker = HandWorker(cls.manager)

    def done_upload(self, content=EXAMPLE_TOTALS):
        task_id = self.manager.upload(EXAMPLE)
        self.worker.finish(self.worker.claim_one(task_id=task_id), content)
        return task_id

    def put_status(self, task_id, status):
        return self.manager.call("PUT", f"/v1/tasks/status/{task_id}", data={"status": status})

    def notify(self, **members):
        return self.manager.post("/v1/data_processor/notify", members)


class FixedPaths(ApiCase):
    def test_health_is_the_old_answer_on_both_old_paths(self):
        for path in ("/v1/tasks/health", "/v1/data_processor/health"):
            answer = self.manager.get(path)
            self.assertEqual((answer.status, answer.json), (200, {"status": "ok"}))
        self.assertEqual(self.manager.get("/healthz").json["status"], "ok")

    def test_a_slash_at_the_end_never_matters(self):
        task_id = self.done_upload()
        for path in ("/healthz", "/v1/tasks", f"/v1/tasks/{task_id}",
                     f"/v1/tasks/status/{task_id}", f"/v1/data_processor/download/{task_id}"):
            with self.subTest(path):
                self.assertEqual(self.manager.get(path + "/").status, 200)
        body, headers = multipart(("file", "plays.csv", EXAMPLE))
        self.assertEqual(self.manager.call("POST", UPLOAD + "/", body, headers).status, 202)

    def test_unknown_paths_are_404_and_wrong_methods_405_with_allow(self):
        self.assert_problem(self.manager.get("/v1/nothing"), 404)
        self.assert_problem(self.manager.get("/"), 404)
        for method, path, allow in (("POST", "/healthz", {"GET", "HEAD"}),
                                    ("GET", UPLOAD, {"POST"}),
                                    ("PATCH", "/v1/tasks", {"GET", "HEAD", "POST"}),
                                    ("PUT", f"/v1/tasks/{UNKNOWN_ID}",
                                     {"GET", "HEAD", "DELETE"})):
            with self.subTest(f"{method} {path}"):
                answer = self.manager.call(method, path)
                self.assert_problem(answer, 405)
                self.assertEqual(set(answer.headers["Allow"].split(", ")), allow)

    def test_uploads_without_a_file_get_the_old_short_texts(self):
        body, headers = multipart(("other", None, b"x"))
        self.assert_problem(self.manager.call("POST", UPLOAD, body, headers), 400,
                            "No file provided")
        body, headers = multipart(("file", "", b""))
        self.assert_problem(self.manager.call("POST", UPLOAD, body, headers), 400,
                            "No selected file")
        body, headers = multipart(("file", "big.csv", b"x" * (1 << 20) + b"x"))
        self.assert_problem(self.manager.call("POST", UPLOAD, body, headers), 413,
                            "File too large")

    def test_a_download_that_is_not_ready_says_why_in_the_old_words(self):
        task_id = self.manager.upload(EXAMPLE)
        self.assert_problem(self.manager.download(task_id), 400, "Task processing")
        work = self.worker.claim_one(task_id=task_id)
        self.assert_problem(self.manager.download(task_id), 400, "Task processing")
        self.worker.report(work, "failed", error={"class": "input", "code": "bad_date",
                                                  "message": "line 3 is bad"})
        self.assert_problem(self.manager.download(task_id), 400, "Task failed", "line 3 is bad")
        task_id = self.manager.upload(EXAMPLE)
        self.manager.call("DELETE", f"/v1/tasks/{task_id}")
        self.assert_problem(self.manager.download(task_id), 400, "Task cancelled")
        self.assert_problem(self.manager.download(UNKNOWN_ID), 404)

    def test_the_status_shows_what_a_client_needs_in_each_state(self):
        task_id = self.manager.submit()
        self.assertEqual(self.manager.status(task_id), {"status": "RECEIVED"})
        work = self.worker.claim_one(task_id=task_id)
        self.worker.heartbeat(work, progress=0.5)
        self.assertEqual(self.manager.status(task_id), {"status": "PROCESSING", "progress": 0.5})
        self.worker.report(work)
        self.assertEqual(self.manager.status(task_id), {"status": "DONE"})
        task_id = self.manager.submit()
        self.worker.report(self.worker.claim_one(task_id=task_id), "failed",
                           error={"class": "input", "code": "bad", "message": "it is bad"})
        self.assertEqual(self.manager.status(task_id),
                         {"status": "FAILED", "error": "it is bad", "error_class": "input"})

    def test_head_answers_like_get_without_a_body(self):
        task_id = self.done_upload()
        for path in ("/healthz", f"/v1/tasks/{task_id}",
                     f"/v1/data_processor/download/{task_id}"):
            with self.subTest(path):
                got, head = self.manager.get(path), self.manager.call("HEAD", path)
                self.assertEqual((head.status, head.body), (200, b""))
                self.assertEqual(head.headers["Content-Length"], str(len(got.body)))
                self.assertEqual(head.headers["ETag"], got.headers["ETag"])

    def test_a_new_task_shows_the_old_members_and_its_choices(self):
        task_id = self.manager.submit(priority=7, max_attempts=2, timeout_s=60,
                                      params={"sleep_ms": 1}, run_at="2199-01-02T03:04:05Z")
        task = self.manager.show(task_id)
        for name, value in {"id": task_id, "task_type": "noop", "status": "RECEIVED",
                            "file_input_path": None, "file_output_path": None, "priority": 7,
                            "max_attempts": 2, "timeout_s": 60, "params": {"sleep_ms": 1},
                            "queue": self.manager.queue, "attempt": 0, "attempts": [],
                            "finished_at": None}.items():
            self.assertEqual(task[name], value, name)
        self.assertTrue(task["time_stamp"].endswith("Z"))
        self.assertTrue(task["run_at"].startswith("2199-01-02T03:04:05"))
        self.assertEqual([(e["from"], e["to"]) for e in task["events"]], [(None, "RECEIVED")])

    def test_a_list_leaves_out_what_may_be_large(self):
        task_id = self.manager.submit(params={"sleep_ms": 1})
        self.worker.report(self.worker.claim_one(task_id=task_id), result={"x": 1})
        task, = (t for t in self.manager.tasks() if t["id"] == task_id)
        shown = self.manager.show(task_id)
        self.assertEqual((shown.pop("params"), shown.pop("result")), ({"sleep_ms": 1}, {"x": 1}))
        self.assertEqual(set(shown) - set(task), {"attempts", "events"})
        self.assertEqual(task["status"], "DONE")

    def test_of_many_events_the_latest_are_shown(self):
        task_id = self.manager.submit()
        for _ in range(101):
            for status in ("PROCESSING", "RECEIVED"):
                self.assertEqual(self.put_status(task_id, status).status, 200)
        self.manager.call("DELETE", f"/v1/tasks/{task_id}")
        events = self.manager.show(task_id)["events"]
        self.assertEqual((len(events), events[-1]["to"]), (200, "CANCELLED"))
        seqs = [event["seq"] for event in events]
        self.assertEqual(seqs, sorted(seqs))

    def test_a_finished_task_shows_its_attempts_and_events(self):
        task_id = self.manager.submit(max_attempts=2)
        usage = {"wall_ms": 12, "cpu_ms": 9, "peak_rss_bytes": 4194304, "exit_code": 3}
        error = {"class": "transient", "code": "busy", "message": "the disk was busy"}
        self.worker.report(self.worker.claim_one(task_id=task_id), "failed", error=error,
                           usage=usage)
        self.worker.report(self.worker.claim_one(wait_ms=20000, task_id=task_id),
                           result={"x": 1})
        task = self.manager.show(task_id)
        self.assertEqual((task["status"], task["attempt"], task["result"]),
                         ("DONE", 2, {"x": 1}))
        first, second = task["attempts"]
        self.assertEqual((first["attempt"], first["worker"], first["outcome"], first["error"]),
                         (1, "by-hand", "failed", error))
        self.assertEqual(first["usage"], {**usage, "signal": 0})
        self.assertEqual((second["outcome"], second["error"]), ("done", None))
        self.assertEqual([event["to"] for event in task["events"]],
                         ["RECEIVED", "PROCESSING", "RECEIVED", "PROCESSING", "DONE"])
        self.assertEqual(sorted(event["seq"] for event in task["events"]),
                         [event["seq"] for event in task["events"]])


class Downloads(ApiCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.content = bytes(range(256)) * 40
        cls.task_id = cls.done_upload(cls, cls.content)
        cls.etag = f'"{sha256(cls.content)}"'

    def get(self, **headers):
        return self.manager.get(f"/v1/data_processor/download/{self.task_id}", **headers)

    def test_a_range_gets_that_piece(self):
        size = len(self.content)
        for asked, first, last in (("0-99", 0, 99), ("10000-", 10000, size - 1),
                                   ("-40", size - 40, size - 1), ("10200-999999", 10200, size - 1),
                                   ("5-5", 5, 5)):
            with self.subTest(asked):
                answer = self.get(Range=f"bytes={asked}")
                self.assertEqual(answer.status, 206)
                self.assertEqual(answer.headers["Content-Range"], f"bytes {first}-{last}/{size}")
                self.assertEqual(answer.body, self.content[first:last + 1])

    def test_a_range_beyond_the_end_is_416(self):
        answer = self.get(Range=f"bytes={len(self.content)}-")
        self.assert_problem(answer, 416)
        self.assertEqual(answer.headers["Content-Range"], f"bytes */{len(self.content)}")

    def test_ranges_that_are_not_understood_get_the_whole_file(self):
        for asked in ("bytes=0-1,5-6", "lines=0-1", "bytes=9-1"):
            with self.subTest(asked):
                answer = self.get(Range=asked)
                self.assertEqual((answer.status, answer.body), (200, self.content))

    def test_a_known_etag_is_304(self):
        for tag in (self.etag, "*", f'"other", {self.etag}', f"W/{self.etag}"):
            with self.subTest(tag):
                answer = self.get(If_None_Match=tag)
                self.assertEqual((answer.status, answer.body), (304, b""))
                self.assertEqual(answer.headers["ETag"], self.etag)
        self.assertEqual(self.get(If_None_Match='"other"').status, 200)

    def test_if_range_gets_the_piece_only_of_the_same_file(self):
        self.assertEqual(self.get(Range="bytes=0-0", If_Range=self.etag).status, 206)
        self.assertEqual(self.get(Range="bytes=0-0", If_Range='"other"').status, 200)

    def test_an_artifact_that_is_not_there_is_a_clear_error(self):
        self.assert_problem(self.manager.download(self.task_id, "?artifact=rejects"), 404)
        self.assert_problem(self.manager.download(self.task_id, "?artifact=all"), 400,
                            says="artifact")
        self.assert_problem(self.manager.download(self.task_id, "?artefact=output"), 400,
                            says="artefact")

    def test_a_file_that_somebody_removed_is_404(self):
        task_id = self.done_upload()
        os.unlink(self.manager.storage / self.manager.show(task_id)["file_output_path"])
        self.assert_problem(self.manager.download(task_id), 404)


class Lists(Case):
    @classmethod
    def setUpClass(cls):
        cls.manager = Manager(cls, TASK_TYPES="mail").start()
        cls.ids = [cls.manager.submit() for _ in range(5)]
        cls.ids.append(cls.manager.submit("mail"))
        cls.ids.append(cls.manager.submit(queue="elsewhere"))
        cls.manager.call("DELETE", f"/v1/tasks/{cls.ids[0]}")

    def page(self, query=""):
        answer = self.manager.get(f"/v1/tasks{query}")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(set(answer.json), {"tasks", "prev_url", "next_url", "count"})
        return answer.json, [task["id"] for task in answer.json["tasks"]]

    def test_all_tasks_come_newest_first(self):
        page, ids = self.page()
        self.assertEqual(ids, self.ids[::-1])
        self.assertEqual((page["count"], page["prev_url"], page["next_url"]), (7, None, None))

    def test_pages_lead_to_each_other(self):
        page, first = self.page("?page_size=3")
        self.assertIsNone(page["prev_url"])
        page, second = self.page(page["next_url"].removeprefix(self.manager.url + "/v1/tasks"))
        self.assertEqual(page["count"], 7)
        self.assertEqual(page["prev_url"], f"{self.manager.url}/v1/tasks?page=1&page_size=3")
        page, third = self.page(page["next_url"].removeprefix(self.manager.url + "/v1/tasks"))
        self.assertIsNone(page["next_url"])
        self.assertEqual(first + second + third, self.ids[::-1])

    def test_a_page_beyond_the_end_is_empty(self):
        page, ids = self.page("?page=9&page_size=3")
        self.assertEqual((ids, page["count"], page["next_url"]), ([], 7, None))

    def test_filters_choose_and_stay_in_the_links(self):
        self.assertEqual(self.page("?status=CANCELLED")[1], [self.ids[0]])
        self.assertEqual(self.page("?type=mail")[1], [self.ids[5]])
        self.assertEqual(self.page("?queue=elsewhere")[1], [self.ids[6]])
        page, ids = self.page(f"?status=RECEIVED&type=noop&queue={self.manager.queue}&page_size=3")
        self.assertEqual((ids, page["count"]), (self.ids[4:1:-1], 4))
        for part in ("status=RECEIVED", "type=noop", f"queue={self.manager.queue}", "page=2"):
            self.assertIn(part, page["next_url"])

    def test_wrong_parameters_are_named(self):
        for query, name in (("page=0", "page"), ("page=x", "page"), ("page_size=1001", "page_size"),
                            ("page_size=-1", "page_size"), ("status=NICE", "status"),
                            ("type=a%20b", "type"), ("colour=red", "colour")):
            with self.subTest(query):
                self.assert_problem(self.manager.get(f"/v1/tasks?{query}"), 400, says=name)


class Moves(ApiCase):
    def test_cancel_is_at_once_and_can_be_repeated(self):
        task_id = self.manager.submit()
        for _ in range(2):
            answer = self.manager.call("DELETE", f"/v1/tasks/{task_id}")
            self.assertEqual((answer.status, answer.json["status"]), (200, "CANCELLED"))
        self.assertEqual(self.worker.claim(task_id=task_id), [])
        self.assertEqual([e["to"] for e in self.manager.show(task_id)["events"]],
                         ["RECEIVED", "CANCELLED"])

    def test_what_has_ended_cannot_be_cancelled(self):
        task_id = self.done_upload()
        self.assert_problem(self.manager.call("DELETE", f"/v1/tasks/{task_id}"), 409, says="DONE")

    def test_cancel_of_a_running_task_ends_its_process(self):
        manager = Manager(self, LEASE="1s").start()
        worker = Worker(self, manager, KILL_GRACE="100ms").start()
        slots = set(children(worker.pid))
        task_id = manager.submit(params={"sleep_ms": 600_000})
        manager.wait_status(task_id, "PROCESSING")
        manager.call("DELETE", f"/v1/tasks/{task_id}")
        self.assertEqual(manager.status(task_id)["status"], "CANCELLED")
        wait_until(lambda: not any(process_exists(pid) for pid in slots), "the process to be gone")
        manager.wait_status(manager.submit(), "DONE")  # the slot has a new one
        self.assertEqual(manager.show(task_id)["attempts"][0]["outcome"], "cancelled")

    def test_retry_gives_a_failed_task_its_attempts_anew(self):
        task_id = self.manager.submit(max_attempts=1)
        error = {"class": "transient", "code": "busy", "message": "busy"}
        self.assert_problem(self.manager.call("POST", f"/v1/tasks/{task_id}/retry"), 409)
        for attempt in (1, 2):
            work = self.worker.claim_one(wait_ms=20000, task_id=task_id)
            self.assertEqual(work["attempt"], attempt)
            self.worker.report(work, "failed", error=error)
            self.assertEqual(self.manager.status(task_id)["status"], "FAILED")
            answer = self.manager.call("POST", f"/v1/tasks/{task_id}/retry")
            self.assertEqual((answer.status, answer.json["status"]), (200, "RECEIVED"))

    def test_put_makes_legal_moves_and_refuses_others(self):
        task_id = self.manager.submit()
        for status, expected in (("DONE", 409), ("RECEIVED", 409), ("PROCESSING", 200),
                                 ("PROCESSING", 409), ("RECEIVED", 200), ("PROCESSING", 200),
                                 ("DONE", 200), ("PROCESSING", 409), ("FAILED", 409),
                                 ("CANCELLED", 409), ("RECEIVED", 409)):
            with self.subTest(status):
                answer = self.put_status(task_id, status)
                self.assertEqual(answer.status, expected, answer)
                if expected == 200:
                    self.assertEqual(answer.json["status"], status)
                else:
                    self.assert_problem(answer, 409)
        task_id = self.manager.submit()
        for status in ("FAILED", "RECEIVED", "CANCELLED"):
            self.assertEqual(self.put_status(task_id, status).json["status"], status)

    def test_put_refuses_words_that_are_no_status(self):
        task_id = self.manager.submit()
        for word in ("done", "NICE", ""):
            self.assert_problem(self.put_status(task_id, word), 400, "Incorrect status")
        self.assert_problem(self.put_status(UNKNOWN_ID, "CANCELLED"), 404)
        self.assert_problem(self.put_status("123", "CANCELLED"), 400)
        self.assertEqual(self.manager.status(task_id)["status"], "RECEIVED")


class ForeignWorkers(ApiCase):
    """As the old processor did it: PUT PROCESSING, then notify."""

    def started(self):
        task_id = self.manager.upload(EXAMPLE)
        self.assertEqual(self.put_status(task_id, "PROCESSING").status, 200)
        return task_id

    def written(self, task_id):
        key = f"processed_data/processed_{task_id}.csv"
        self.worker.write(key, EXAMPLE_TOTALS)
        return key

    def assert_completed(self, task_id):
        self.manager.wait_status(task_id, "DONE")
        self.assertEqual(self.manager.download(task_id).body, EXAMPLE_TOTALS)

    def test_notify_with_a_key_completes_the_task(self):
        task_id = self.started()
        answer = self.notify(task_id=task_id, status="DONE",
                             file_output_path=self.written(task_id))
        self.assertEqual((answer.status, answer.json), (200, {"task_id": task_id}))
        self.assert_completed(task_id)

    def test_notify_with_an_absolute_path_completes_the_task(self):
        task_id = self.started()
        path = str(self.manager.storage / self.written(task_id))
        answer = self.notify(task_id=task_id, status="DONE", file_output_path=path)
        self.assertEqual((answer.status, answer.json), (200, {"task_id": task_id}), answer)
        self.assert_completed(task_id)

    def test_any_other_word_than_done_is_a_failure(self):
        task_id = self.started()
        answer = self.notify(task_id=task_id, status="ERROR", file_output_path="")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(self.manager.status(task_id)["status"], "FAILED")

    def test_notify_takes_only_files_that_the_store_has(self):
        task_id = self.started()
        for path in ("processed_data/none.csv", "/etc/passwd", "../../etc/passwd", "segue.db", ""):
            with self.subTest(path):
                answer = self.notify(task_id=task_id, status="DONE", file_output_path=path)
                self.assertEqual(answer.status, 400, answer)
        self.assertEqual(self.manager.status(task_id)["status"], "PROCESSING")

    def test_notify_needs_all_its_members(self):
        task_id = self.started()
        whole = {"task_id": task_id, "status": "DONE", "file_output_path": "x"}
        for name in whole:
            rest = {key: value for key, value in whole.items() if key != name}
            self.assert_problem(self.notify(**rest), 400, "Invalid data", name)

    def test_notify_needs_a_running_task(self):
        task_id = self.manager.upload(EXAMPLE)
        members = {"status": "DONE", "file_output_path": self.written(task_id)}
        self.assert_problem(self.notify(task_id=task_id, **members), 400, "Task not processing")
        self.assert_problem(self.notify(task_id=UNKNOWN_ID, **members), 404)

    def test_a_foreign_attempt_is_shown_and_may_take_its_time(self):
        manager = Manager(self, LEASE="500ms").start()
        task_id = manager.submit()
        manager.call("PUT", f"/v1/tasks/status/{task_id}", data={"status": "PROCESSING"})
        # A task with a heartbeat's lease is taken back meanwhile; the foreign one is not.
        other = HandWorker(manager).claim(task_id=manager.submit())[0]["task_id"]
        manager.wait_status(other, "RECEIVED")
        self.assertEqual(manager.status(task_id)["status"], "PROCESSING")
        self.assertEqual(manager.show(task_id)["attempts"][0]["worker"], "foreign")


if __name__ == "__main__":
    main()
