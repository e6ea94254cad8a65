"""Idempotency-Key: whoever repeats a request gets the first answer and no second task."""

import threading

from support import EXAMPLE, UPLOAD, Case, HandWorker, Manager, main

CLIENTS = 50


def at_once(count, request):
    """The answers of that many clients that start together."""
    barrier, answers = threading.Barrier(count), []

    def client():
        barrier.wait()
        answers.append(request())
    threads = [threading.Thread(target=client) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class Idempotency(Case):
    def setUp(self):
        self.manager = Manager(self).start()

    def submit(self, key, **members):
        return self.manager.call("POST", "/v1/tasks", headers={"Idempotency-Key": key},
                                 data={"type": "noop", "queue": self.manager.queue, **members})

    def upload(self, key, content, query=""):
        return self.manager.call("POST", UPLOAD + query, content,
                                 {"Content-Type": "text/csv", "Idempotency-Key": key})

    def assert_replay(self, answer, task_id):
        self.assertEqual((answer.status, answer.json), (202, {"task_id": task_id}))
        self.assertEqual(answer.headers["Idempotent-Replayed"], "true")
        self.assertTrue(answer.headers["Location"].endswith(task_id))

    def assert_one_task(self, answers):
        self.assertEqual({answer.status for answer in answers}, {202}, answers)
        self.assertEqual(len({answer.json["task_id"] for answer in answers}), 1)
        replayed = [a for a in answers if a.headers["Idempotent-Replayed"] == "true"]
        self.assertEqual(len(replayed), len(answers) - 1)
        self.assertEqual(len(self.manager.tasks()), 1)

    def test_fifty_clients_at_once_make_one_task(self):
        self.assert_one_task(at_once(CLIENTS, lambda: self.submit("key-1", priority=3)))

    def test_fifty_uploads_at_once_make_one_task_and_leave_one_file(self):
        self.assert_one_task(at_once(CLIENTS, lambda: self.upload("key-1", EXAMPLE)))
        self.manager.wait_clean()

    def test_the_same_key_with_other_content_is_422(self):
        task_id = self.submit("key-1").json["task_id"]
        for members in ({"priority": 1}, {"params": {"sleep_ms": 1}}, {"max_attempts": 9},
                        {"timeout_s": 9}, {"queue": "elsewhere"},
                        {"run_at": "2199-01-01T00:00:00Z"}):
            with self.subTest(members):
                self.assert_problem(self.submit("key-1", **members), 422, says="Idempotency-Key")
        self.assert_problem(self.upload("key-1", EXAMPLE), 422)
        self.assert_replay(self.submit("key-1"), task_id)
        self.assertEqual(len(self.manager.tasks()), 1)
        self.manager.wait_clean()

    def test_an_upload_with_other_content_is_422_and_leaves_no_file(self):
        task_id = self.upload("key-1", EXAMPLE).json["task_id"]
        self.assert_problem(self.upload("key-1", EXAMPLE + b"x,2020-01-01,1\n"), 422)
        self.assert_problem(self.upload("key-1", EXAMPLE, "?on_bad_row=skip"), 422)
        self.assert_replay(self.upload("key-1", EXAMPLE), task_id)
        self.manager.wait_clean()

    def test_members_in_another_order_are_the_same_request(self):
        body = '{"type":"noop","params":{"sleep_ms":1,"fail":"input"},"priority":1}'
        other = '{"priority": 1, "params": {"fail": "input", "sleep_ms": 1}, "type": "noop"}'
        headers = {"Content-Type": "application/json", "Idempotency-Key": "key-1"}
        first = self.manager.call("POST", "/v1/tasks", body.encode(), headers)
        again = self.manager.call("POST", "/v1/tasks", other.encode(), headers)
        self.assert_replay(again, first.json["task_id"])

    def test_a_repeat_gets_the_first_answer_after_a_restart_too(self):
        task_id = self.submit("key-1").json["task_id"]
        upload_id = self.upload("key-2", EXAMPLE).json["task_id"]
        self.manager.kill()
        self.manager.start()
        self.assert_replay(self.submit("key-1"), task_id)
        self.assert_replay(self.upload("key-2", EXAMPLE), upload_id)
        self.assertEqual(len(self.manager.tasks()), 2)

    def test_a_repeat_gets_the_first_answer_when_the_task_has_ended(self):
        task_id = self.submit("key-1").json["task_id"]
        worker = HandWorker(self.manager)
        worker.report(worker.claim_one())
        self.assert_replay(self.submit("key-1"), task_id)
        self.assertEqual(self.manager.status(task_id)["status"], "DONE")

    def test_without_a_key_or_with_another_there_are_two_tasks(self):
        ids = {self.submit("key-1").json["task_id"], self.submit("key-2").json["task_id"],
               self.manager.submit(), self.manager.submit()}
        self.assertEqual(len(ids), 4)

    def test_keys_that_are_none_are_refused(self):
        for key in ("", "x" * 256, "snow\u00e9"):
            with self.subTest(key):
                self.assert_problem(self.submit(key), 400, says="Idempotency-Key")
        self.assertEqual(self.submit("x" * 255).status, 202)
        self.assertEqual(len(self.manager.tasks()), 1)


if __name__ == "__main__":
    main()
