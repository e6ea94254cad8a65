"""Bulk submit: POST /v1/tasks with one task a line, one outcome a line."""

import json
from concurrent.futures import ThreadPoolExecutor

from support import (SANITIZED, Case, HandWorker, Manager, main, peak_memory, resident_memory,
                     wait_until)


class Bulk(Case):
    def setUp(self):
        self.manager = Manager(self).start()

    def post(self, body, manager=None, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        return (manager or self.manager).call("POST", "/v1/tasks", body,
                                              {"Content-Type": "application/x-ndjson", **headers})

    def outcomes(self, body, **arguments):
        answer = self.post(body, **arguments)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/x-ndjson")
        return [json.loads(line) for line in answer.body.splitlines()]

    def task(self, **members):
        return json.dumps({"type": "noop", "queue": self.manager.queue, **members}).encode()

    def test_every_line_is_a_task(self):
        count = 1000  # more than one transaction takes
        outcomes = self.outcomes(b"\n".join(self.task(priority=i % 7) for i in range(count)))
        self.assertEqual([o["line"] for o in outcomes], list(range(1, count + 1)))
        self.assertEqual({o["task_id"] for o in outcomes},
                         {t["id"] for t in self.manager.tasks()})
        shown = self.manager.show(outcomes[8]["task_id"])
        self.assertEqual((shown["status"], shown["priority"]), ("RECEIVED", 1))

    def test_a_bad_line_is_refused_for_itself(self):
        lines = [self.task(), b"", b"{", self.task(type="nope"), self.task(max_attempts=0),
                 b"   ", self.task(params={"sleep_ms": "long"}), self.task()]
        outcomes = self.outcomes(b"\r\n".join(lines) + b"\r\n")
        self.assertEqual([(o["line"], o.get("status")) for o in outcomes],
                         [(1, None), (3, 400), (4, 400), (5, 400), (7, 400), (8, None)])
        self.assertIn("nope", outcomes[2]["detail"])
        self.assertEqual(len(self.manager.tasks()), 2)

    def test_a_bad_line_of_any_bytes_spoils_no_answer(self):
        name = "x" + "\u00e9" * 100  # an error that quotes it cuts it within a character
        lines = [self.task(), json.dumps({name: 1}, ensure_ascii=False).encode(),
                 json.dumps({"type": "noop", "params": {name: 1}}, ensure_ascii=False).encode(),
                 b"\xff\xfe", self.task()]
        outcomes = self.outcomes(b"\n".join(lines))
        self.assertEqual([o.get("status") for o in outcomes], [None, 400, 400, 400, None])
        self.assertIn("unknown member", outcomes[1]["detail"])

    def test_what_is_wrong_with_all_of_it_submits_none(self):
        answer = self.post(b"x\n" * 10001)
        self.assertEqual((answer.status, answer.json["detail"]),
                         (413, "the body has more than 10000 lines"))
        self.assertEqual(self.post(self.task() + b"\n" * 10000).status, 200)
        for key, status in (("k" * 234, 400), ("", 400), ("k" * 233, 200)):
            answer = self.post(self.task(), Idempotency_Key=key)
            self.assertEqual(answer.status, status, answer)
        self.assertEqual(len(self.manager.tasks()), 2)

    def test_a_repeat_with_the_key_makes_no_second_task(self):
        body = b"\n".join([self.task(), self.task(priority=1), b"not json"])
        first = self.outcomes(body, Idempotency_Key="bulk one")
        again = self.outcomes(body, Idempotency_Key="bulk one")
        self.assertEqual([o.get("task_id") for o in again], [o.get("task_id") for o in first])
        self.assertEqual([o.get("replayed") for o in again], [True, True, None])
        other = self.outcomes(b"\n".join([self.task(priority=5), self.task(priority=1)]),
                              Idempotency_Key="bulk one")
        self.assertEqual([o.get("status") for o in other], [422, None])
        self.assertEqual(len(self.manager.tasks()), 2)

    def test_what_it_takes_in_is_done(self):
        ids = {o["task_id"] for o in self.outcomes(b"\n".join([self.task()] * 40))}
        worker = HandWorker(self.manager)
        claimed = worker.claim(limit=40)
        self.assertEqual({w["task_id"] for w in claimed}, ids)
        answer = self.manager.post("/v1/worker/report", {"worker": worker.name, "reports": [
            {"task_id": w["task_id"], "token": w["token"], "outcome": "done"} for w in claimed]})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual({t["status"] for t in self.manager.tasks()}, {"DONE"})

    def test_the_backlog_has_its_limit_within_a_bulk(self):
        manager = Manager(self, MAX_QUEUED=5).start()
        task = json.dumps({"type": "noop", "queue": manager.queue}).encode()
        outcomes = self.outcomes(b"\n".join([task] * 8), manager=manager)
        self.assertEqual([o.get("status") for o in outcomes], [None] * 5 + [429] * 3)
        self.assertEqual(len(manager.tasks()), 5)

    def test_memory_that_a_crowd_took_goes_back_when_it_has_left(self):
        if SANITIZED:
            self.skipTest("a sanitizer keeps memory that was freed")
        self.outcomes(self.task())
        pid, body = self.manager.pid, self.task() + b"\n"
        start = resident_memory(pid)
        with ThreadPoolExecutor(4) as crowd:
            answers = list(crowd.map(self.post, [body * 5000] * 8))
        self.assertEqual([answer.status for answer in answers], [200] * 8)
        left, peak = (found - start for found in (resident_memory(pid), peak_memory(pid)))
        self.assertGreater(peak, 8_000_000)  # or there is nothing to give back
        enough = start + max(left / 2, peak / 4)  # the latter if it has begun to go already
        wait_until(lambda: resident_memory(pid) < enough, "memory to be given back")

    def test_what_is_no_list_of_lines(self):
        self.assertEqual(self.outcomes(b""), [])
        self.assertEqual(self.outcomes(b"\n\n"), [])
        self.assertEqual(self.post(b"\n" * (64 * 1024 * 16 + 1)).status, 413)
        answer = self.manager.call("POST", "/v1/tasks", b"x", {"Content-Type": "text/plain"})
        self.assertEqual(answer.status, 415)
        self.assertIn("application/x-ndjson", answer.json["detail"])


if __name__ == "__main__":
    main()
