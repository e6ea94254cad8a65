"""A worker written from docs/worker-protocol.md alone, in plain HTTP."""

import json
import re
import subprocess
import sys
import threading
import time

from support import (EXAMPLE, EXAMPLE_TOTALS, REPO, UNKNOWN_ID, Case, HandWorker, Manager, main,
                     read_answer, sha256, wait_until)


class ProtocolCase(Case):
    @classmethod
    def setUpClass(cls):
        cls.manager = Manager(cls, TASK_TYPES="mail,letter", MAX_ATTEMPTS=3).start()
        cls.worker = HandWorker(cls.manager)

    def claimed(self, **members):
        task_id = self.manager.submit(**members)
        return self.worker.claim_one(task_id=task_id)

    def assert_report(self, answer, http, status, state, says=""):
        self.assertEqual(answer.status, http, answer)
        (verdict,) = answer.json["reports"]
        self.assertEqual((verdict["status"], verdict["state"]), (status, state))
        self.assertIn(says, verdict["detail"])


class Claims(ProtocolCase):
    def test_a_claim_brings_what_the_document_says(self):
        task_id = self.manager.upload(EXAMPLE, filename="plays.csv", on_bad_row="skip")
        task = self.manager.show(task_id)
        work = self.worker.claim_one()
        self.assertRegex(work.pop("token"), r"^[0-9a-f]{32,}$")
        self.assertEqual(work, {
            "task_id": task_id, "type": "csv_plays", "queue": self.manager.queue, "attempt": 1,
            "max_attempts": 3, "lease_ms": 10000, "timeout_ms": 0,
            "output_prefix": f"processed_data/{task_id}/1/",
            "output_stem": f"processed_data/{task_id[-2:]}/{task_id}.1.", "input_name": "plays.csv",
            "input": {"key": task["file_input_path"], "size": len(EXAMPLE),
                      "sha256": sha256(EXAMPLE)},
            "params": {"on_bad_row": "skip"}})
        self.assertEqual((self.manager.storage / work["input"]["key"]).read_bytes(), EXAMPLE)

    def test_a_type_of_ones_own_lands_on_the_queue_of_its_name(self):
        answer = self.manager.post("/v1/tasks", {"type": "mail", "params": {"to": "you"},
                                                 "timeout_s": 5})
        work = self.worker.claim_one(queues=["mail"])
        self.assertEqual((work["task_id"], work["params"], work["input"], work["timeout_ms"]),
                         (answer.json["task_id"], {"to": "you"}, None, 5000))
        self.assert_report(self.worker.report(work, result={"sent": True}), 200, "recorded",
                           "DONE")
        self.assertEqual(self.manager.show(work["task_id"])["result"], {"sent": True})

    def test_higher_priority_comes_first_then_the_older(self):
        queue = f"{self.manager.queue}.order"
        ids = {name: self.manager.submit("letter", queue=queue, priority=priority)
               for name, priority in (("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0))}
        work = self.worker.claim(3, queues=[queue]) + self.worker.claim(9, queues=[queue])
        self.assertEqual([w["task_id"] for w in work], [ids[name] for name in "bdaec"])

    def test_a_queue_named_twice_gives_each_task_once(self):
        queue = f"{self.manager.queue}.twice"
        ids = [self.manager.submit("letter", queue=queue) for _ in range(3)]
        work = self.worker.claim(2, queues=[queue, queue]) + self.worker.claim(9, queues=[queue])
        self.assertEqual([w["task_id"] for w in work], ids)

    def test_a_task_is_not_handed_out_before_its_time(self):
        queue = f"{self.manager.queue}.later"
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        task_id = self.manager.submit("letter", queue=queue, run_at=later, priority=100)
        self.assertEqual(self.worker.claim(queues=[queue]), [])
        work = self.worker.claim_one(wait_ms=20000, queues=[queue])
        self.assertEqual(work["task_id"], task_id)
        started = self.manager.show(task_id)["started_at"]
        self.assertGreaterEqual(started[:19], later[:19])

    def test_many_claimers_never_get_the_same_task(self):
        queue = f"{self.manager.queue}.many"
        ids = {self.manager.submit("letter", queue=queue) for _ in range(60)}
        got = []

        def claim_all():
            while work := self.worker.claim(3, queues=[queue]):
                got.extend(w["task_id"] for w in work)
        threads = [threading.Thread(target=claim_all) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A claimer may find nothing while others hold the rest: look once more.
        claim_all()
        self.assertEqual(len(got), len(set(got)))
        self.assertEqual(set(got), ids)


class Document(Case):
    def test_the_worker_in_ten_lines_works(self):
        manager = Manager(self, TASK_TYPES="mail").start()
        text = (REPO / "docs/worker-protocol.md").read_text()
        code = re.search(r"```python\n(.*?)```", text, re.S).group(1)
        self.assertIn("http://127.0.0.1:5000", code)
        code = ("def send_mail(to): print('sent to', to, flush=True)\n"
                + code.replace("http://127.0.0.1:5000", manager.url))
        worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        self.addCleanup(worker.stdout.close)
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        answer = manager.post("/v1/tasks", {"type": "mail", "params": {"to": "you"}})
        manager.wait_status(answer.json["task_id"], "DONE")
        self.assertEqual(worker.stdout.readline(), b"sent to you\n")


class LongPolls(ProtocolCase):
    def poll(self, queue, wait_ms=60000):
        """A connection that waits for work."""
        body = json.dumps({"worker": "poller", "queues": [queue], "wait_ms": wait_ms})
        sock = self.manager.connect()
        self.addCleanup(sock.close)
        sock.sendall(f"POST /v1/worker/claim HTTP/1.1\r\nHost: x\r\nContent-Type: "
                     f"application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        return sock

    def test_a_waiting_claim_is_answered_when_work_comes(self):
        queue = f"{self.manager.queue}.poll"
        began = time.monotonic()
        polls = [self.poll(queue) for _ in range(3)]
        ids = {self.manager.submit("letter", queue=queue) for _ in range(3)}
        got = {read_answer(sock).json["tasks"][0]["task_id"] for sock in polls}
        self.assertEqual(got, ids)
        self.assertLess(time.monotonic() - began, 60, "the polls just ran out")

    def test_a_waiting_claim_ends_empty_when_nothing_comes(self):
        answer = read_answer(self.poll(f"{self.manager.queue}.none", 300))
        self.assertEqual((answer.status, answer.json), (200, {"tasks": []}))

    def test_nothing_is_claimed_for_a_client_that_went_away(self):
        queue = f"{self.manager.queue}.gone"
        polls = [self.poll(queue) for _ in range(5)]
        # They are parked once another has been sent home that came after them.
        self.assertEqual(read_answer(self.poll(queue, 1000)).json, {"tasks": []})
        for sock in polls:
            sock.close()
        task_id = self.manager.submit("letter", queue=queue)
        work = self.worker.claim_one(wait_ms=20000, queues=[queue])
        self.assertEqual((work["task_id"], work["attempt"]), (task_id, 1))

    def test_a_returned_task_wakes_the_waiting_claim(self):
        queue = f"{self.manager.queue}.back"
        self.manager.submit("letter", queue=queue)
        work = self.worker.claim_one(queues=[queue])
        sock = self.poll(queue)
        self.worker.report(work, "released")
        (again,) = read_answer(sock).json["tasks"]
        self.assertEqual((again["task_id"], again["attempt"]), (work["task_id"], 2))
        self.assertNotEqual(again["token"], work["token"])


class Heartbeats(ProtocolCase):
    def test_a_heartbeat_keeps_the_lease_and_shows_progress(self):
        work = self.claimed()
        self.assertEqual(self.worker.heartbeat(work, progress=0.25),
                         {"task_id": work["task_id"], "held": True, "lease_ms": 10000,
                          "state": "PROCESSING"})
        self.assertEqual(self.manager.status(work["task_id"])["progress"], 0.25)

    def test_a_heartbeat_tells_what_was_lost(self):
        work = self.claimed()
        self.manager.call("DELETE", f"/v1/tasks/{work['task_id']}")
        verdict = self.worker.heartbeat(work)
        self.assertEqual((verdict["held"], verdict["state"]), (False, "CANCELLED"))
        verdict = self.worker.heartbeat({**work, "task_id": UNKNOWN_ID})
        self.assertEqual((verdict["held"], verdict["state"]), (False, ""))
        other = self.claimed()
        verdict = self.worker.heartbeat({**other, "token": work["token"]})
        self.assertEqual((verdict["held"], verdict["state"]), (False, "PROCESSING"))


class Reports(ProtocolCase):
    def test_a_report_is_recorded_once_and_may_be_repeated(self):
        work = self.claimed()
        for status in ("recorded", "repeated", "repeated"):
            self.assert_report(self.worker.report(work), 200, status, "DONE")
        events = [event["to"] for event in self.manager.show(work["task_id"])["events"]]
        self.assertEqual(events, ["RECEIVED", "PROCESSING", "DONE"])

    def test_a_failure_report_may_be_repeated_too(self):
        work = self.claimed(max_attempts=1)
        error = {"class": "crash", "code": "x", "message": "it broke"}
        for status in ("recorded", "repeated"):
            self.assert_report(self.worker.report(work, "failed", error=error), 200, status,
                               "FAILED")
        self.assertEqual(len(self.manager.show(work["task_id"])["attempts"]), 1)

    def test_a_stale_report_is_refused_and_its_files_removed(self):
        manager = Manager(self, LEASE="500ms").start()
        worker = HandWorker(manager)
        task_id = manager.upload(EXAMPLE)
        late = worker.claim_one()
        key = late["output_prefix"] + "totals.csv"
        worker.write(key, b"late")
        worker.write(late["output_stem"] + "rejects.csv", b"late")
        manager.wait_status(task_id, "RECEIVED")
        winner = worker.claim_one(wait_ms=20000)
        self.assertEqual(winner["attempt"], 2)
        kept = worker.finish(winner)
        answer = worker.report(late, output={"key": key, "size": 4, "sha256": sha256(b"late")})
        self.assert_report(answer, 409, "stale", "DONE")
        self.assertEqual(manager.download(task_id).body, EXAMPLE_TOTALS)
        stored = {name for name in manager.stored() if name.startswith("processed_data/")}
        self.assertEqual(stored, {kept})
        self.assertEqual([a["outcome"] for a in manager.show(task_id)["attempts"]],
                         ["lost", "done"])
        self.assertEqual(manager.metric("segue_reports_stale_total"), 1)

    def test_a_report_after_a_cancel_is_stale(self):
        work = self.claimed()
        self.manager.call("DELETE", f"/v1/tasks/{work['task_id']}")
        self.assert_report(self.worker.report(work), 409, "stale", "CANCELLED")

    def test_a_report_with_a_wrong_token_is_stale(self):
        work = self.claimed()
        self.assert_report(self.worker.report({**work, "token": "0" * len(work["token"])}), 409,
                           "stale", "PROCESSING")
        self.assert_report(self.worker.report(work), 200, "recorded", "DONE")

    def test_a_report_on_an_unknown_task_is_404(self):
        work = self.claimed()
        answer = self.worker.report({**work, "task_id": UNKNOWN_ID})
        self.assertEqual((answer.status, answer.json["reports"][0]["status"]), (404, "unknown"))

    def test_an_output_may_have_a_stem_instead_of_a_folder(self):
        work = self.claimed()
        stem, task_id = work["output_stem"], work["task_id"]
        other = f"processed_data/{'00' if task_id[-2:] != '00' else '01'}/{task_id}.1."
        for wrong in (other, stem[:-1], stem[:-2] + "11.", stem[:-2] + "2.", stem[:-2] + "0."):
            self.worker.write(wrong + "x", b"1234")
            with self.subTest(wrong):
                answer = self.worker.report(work, output={"key": wrong + "x", "size": 4, "sha256": sha256(b"1234")})
                self.assertEqual(answer.status, 400, answer)
                self.assertIn("output_prefix", answer.json["reports"][0]["detail"])
        self.worker.write(stem + "x", b"1234")
        answer = self.worker.report(work, output={"key": stem + "x", "size": 4, "sha256": sha256(b"1234")})
        self.assert_report(answer, 200, "recorded", "DONE")
        self.assertEqual(self.manager.download(task_id).body, b"1234")

    def test_an_output_has_to_be_there_as_told_and_in_its_place(self):
        work = self.claimed()
        prefix = work["output_prefix"]
        self.worker.write(prefix + "x", b"1234")
        self.worker.write("processed_data/elsewhere", b"1234")
        good = {"key": prefix + "x", "size": 4, "sha256": sha256(b"1234")}
        for output, says in (({**good, "key": prefix + "none"}, ""),
                             ({**good, "size": 5}, "size"),
                             ({**good, "key": "processed_data/elsewhere"}, "output_prefix"),
                             ({**good, "key": prefix + "../../elsewhere"}, ""),
                             ({**good, "key": "/etc/passwd"}, "")):
            with self.subTest(output):
                answer = self.worker.report(work, output=output)
                self.assertEqual(answer.status, 400, answer)
                self.assertIn(says, answer.body.decode())
        self.assertEqual(self.manager.status(work["task_id"])["status"], "PROCESSING")
        self.assert_report(self.worker.report(work, output=good), 200, "recorded", "DONE")

    def test_a_result_cannot_point_at_the_file_of_another_task(self):
        other = self.manager.upload(EXAMPLE)
        key = self.manager.show(other)["file_input_path"]
        work = self.claimed()
        self.assert_report(self.worker.report(work, result={"rejects": {
            "key": key, "size": len(EXAMPLE), "sha256": sha256(EXAMPLE)}}), 200, "recorded",
            "DONE")
        answer = self.manager.get(
            f"/v1/data_processor/download/{work['task_id']}?artifact=rejects")
        self.assertEqual(answer.status, 404)

    def test_each_report_of_a_batch_gets_its_own_verdict(self):
        first, second, stale = self.claimed(), self.claimed(), self.claimed()
        self.worker.report(stale)
        entries = [{"task_id": work["task_id"], "token": token, "outcome": "done"}
                   for work, token in ((first, first["token"]), (stale, "0" * 32),
                                       ({"task_id": UNKNOWN_ID}, "0" * 32),
                                       (second, second["token"]))]
        answer = self.manager.post("/v1/worker/report", {"worker": "w", "reports": entries})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual([verdict["status"] for verdict in answer.json["reports"]],
                         ["recorded", "stale", "unknown", "recorded"])

    def test_a_task_handed_back_can_be_claimed_again_at_once(self):
        work = self.claimed(max_attempts=2)
        self.assert_report(self.worker.report(work, "released"), 200, "recorded", "RECEIVED")
        again = self.worker.claim_one(task_id=work["task_id"])
        self.assertEqual(again["attempt"], 2)
        self.assert_report(self.worker.report(again, "released"), 200, "recorded", "RECEIVED")
        last = self.worker.claim_one(task_id=work["task_id"])
        self.assert_report(self.worker.report(last), 200, "recorded", "DONE")

    def test_a_lease_that_ran_out_is_over_for_good(self):
        manager = Manager(self, LEASE="500ms", MAX_ATTEMPTS=2).start()
        worker = HandWorker(manager)
        task_id = manager.submit()
        for attempt in (1, 2):
            work = worker.claim_one(wait_ms=20000)
            self.assertEqual(work["attempt"], attempt)
            wait_until(lambda: manager.show(task_id)["attempts"][-1]["outcome"] == "lost",
                       "the lease to run out")
        self.assertIn("fell silent during attempt 2 of 2", manager.status(task_id)["error"])
        self.assertEqual(worker.report(work).status, 409)


if __name__ == "__main__":
    main()
