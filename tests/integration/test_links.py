"""Links that fail at the worst moment: during COMMIT, before an answer, one way, in silence."""

import http.client
import socket

from faults import Proxy
from support import (AMQP_URL, EXAMPLE, EXAMPLE_TOTALS, UPLOAD, Case, HandWorker, Manager, Worker,
                     call, fresh_database, main, only_on, temp_dir, wait_until)

COMMIT = b";\nCOMMIT"  # the end of a transaction's statements


@only_on("mysql", "SQLite is a file beside the program")
class CutDuringCommit(Case):
    """The database may have committed or not; who asks again with the same key learns which."""

    @classmethod
    def setUpClass(cls):
        cwd = temp_dir(cls)
        cls.link = Proxy(cls, fresh_database(cls, cwd))
        cls.manager = Manager(cls, cwd, DATABASE_URL=cls.link.url, AMQP_URL=None).start()

    def submit_cut(self, cut, submit, key):
        """The answer to a submit whose COMMIT is cut until nobody can know what became of it,
        and then, with the link mended, the answer to its repeat."""
        sprung = self.link.sprung()
        self.link.trap(cut, COMMIT, times=1000)
        first = submit(key)
        self.link.trap(cut, COMMIT, times=0)
        self.assertGreater(self.link.sprung(), sprung)
        return first, wait_until(lambda: self._unless_unavailable(submit(key)),
                                 "the database to be back")

    @staticmethod
    def _unless_unavailable(answer):
        return answer if answer.status != 503 else None

    def submit(self, key):
        return self.manager.call("POST", "/v1/tasks", headers={"Idempotency-Key": key},
                                 data={"type": "noop", "queue": self.manager.queue})

    def upload(self, key):
        return self.manager.call("POST", f"{UPLOAD}?queue={self.manager.queue}", EXAMPLE,
                                 {"Content-Type": "text/csv", "Idempotency-Key": key})

    def test_a_repeat_with_the_same_key_gives_one_task(self):
        for submit in (self.submit, self.upload):
            for cut in ("before", "unanswered", "answered"):
                with self.subTest(submit=submit.__name__, cut=cut):
                    before = {task["id"] for task in self.manager.tasks()}
                    key = f"{submit.__name__} {cut}"
                    first, second = self.submit_cut(cut, submit, key)
                    self.assertIn(first.status, (202, 503))
                    self.assertEqual(second.status, 202, second)
                    new = {task["id"] for task in self.manager.tasks()} - before
                    self.assertEqual(new, {second.json["task_id"]})
                    if first.status == 202:
                        self.assertEqual(first.json, second.json)

    def test_a_link_cut_once_during_commit_is_not_even_noticed(self):
        for cut in ("before", "unanswered"):
            with self.subTest(cut):
                before = len(self.manager.tasks())
                self.link.trap(cut, COMMIT, times=1)
                task_id = self.manager.submit()
                wait_until(lambda: self.link.sprung() > 0, "the trap to spring")
                self.assertEqual(len(self.manager.tasks()), before + 1)
                self.assertEqual(self.manager.status(task_id)["status"], "RECEIVED")


class WorkerLink(Case):
    """Between a worker and its manager."""

    def start(self, **settings):
        manager = Manager(self, **settings).start()
        link = Proxy(self, manager.url)
        return manager, link, Worker(self, manager, TASK_MANAGER_URL=link.url).start()

    def attempts(self, manager, task_id):
        return [(a["worker"], a["outcome"]) for a in manager.show(task_id)["attempts"]]

    def test_a_report_whose_answer_is_lost_is_recorded_once(self):
        manager, link, _ = self.start(LEASE="1m")
        for content, end in ((EXAMPLE, "DONE"), (EXAMPLE + b"x,y,z\n", "FAILED")):
            with self.subTest(end):
                sprung = link.sprung()
                link.trap("unanswered", b"POST /v1/worker/report", times=3)
                task_id = manager.upload(content)
                manager.wait_status(task_id, end)
                wait_until(lambda: link.sprung() == sprung + 3, "three answers to be lost")
                # the worker asks until it hears, and then takes the next task
                manager.wait_status(manager.submit(), "DONE")
                self.assertEqual(len(self.attempts(manager, task_id)), 1)
                ends = [e for e in manager.show(task_id)["events"] if e["to"] == end]
                self.assertEqual(len(ends), 1)

    def test_a_claim_whose_answer_is_lost_comes_again_after_the_lease(self):
        manager, link, _ = self.start(LEASE="1s")
        link.trap("unanswered", b"POST /v1/worker/claim", times=1)
        task_id = manager.submit()
        manager.wait_status(task_id, "DONE")
        outcomes = [outcome for _, outcome in self.attempts(manager, task_id)]
        self.assertEqual(outcomes[-1], "done")

    def test_a_worker_that_is_not_heard_past_its_lease_records_nothing(self):
        manager, link, worker = self.start(LEASE="1s")
        slow = manager.submit(params={"sleep_ms": 4000})
        manager.wait_status(slow, "PROCESSING")
        link.mode("pause_requests")  # its heartbeats and reports wait, answers would arrive
        other = Worker(self, manager, "other").start()
        manager.wait_status(slow, "DONE")
        before = manager.show(slow)
        link.mend()  # now they all arrive
        wait_until(lambda: "task.dropped" in worker.log() or "too_late" in worker.log(),
                   "the worker to see that it is late")
        self.assertEqual(manager.show(slow), before)
        self.assertEqual(self.attempts(manager, slow),
                         [(worker.worker_name, "lost"), (other.worker_name, "done")])
        other.stop()
        manager.wait_status(manager.submit(), "DONE")  # it goes on working

    def test_a_slow_link_costs_nothing_but_time(self):
        manager, link, worker = self.start(LEASE="10s")
        link.delay(100)
        task_id = manager.upload(EXAMPLE)
        manager.wait_status(task_id, "DONE")
        self.assertEqual(manager.download(task_id).body, EXAMPLE_TOTALS)
        self.assertEqual(self.attempts(manager, task_id), [(worker.worker_name, "done")])


class ClientLink(Case):
    @classmethod
    def setUpClass(cls):
        cls.manager = Manager(cls).start()

    def setUp(self):
        self.link = Proxy(self, self.manager.url)

    def send(self, body):
        """An upload over the link; what became of it, if one hears."""
        try:
            return call(self.link.address, "POST", f"{UPLOAD}?queue={self.manager.queue}", body,
                        {"Content-Type": "text/csv"})
        except (OSError, http.client.HTTPException):
            return None

    def assert_nothing_came(self, stored, tasks):
        wait_until(lambda: self.manager.stored() == stored, "the unfinished file to be removed")
        self.assertEqual(self.manager.tasks(), tasks)

    def test_an_upload_that_is_truncated_leaves_no_task_and_no_file(self):
        stored, tasks = self.manager.stored(), self.manager.tasks()
        body = EXAMPLE + b"a,2020-01-01,1\n" * 20_000
        for bytes_sent in (1, 100, 1000, 70_000, 250_000):
            with self.subTest(bytes_sent):
                self.link.limit("requests", bytes_sent)
                self.assertIsNone(self.send(body))
                self.assert_nothing_came(stored, tasks)

    def test_an_upload_that_is_reset_leaves_no_task_and_no_file(self):
        stored, tasks = self.manager.stored(), self.manager.tasks()
        with socket.create_connection(self.link.address) as sock:
            sock.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                         b"Content-Length: 100000\r\n\r\n" % UPLOAD.encode() + EXAMPLE)
            wait_until(lambda: self.manager.stored() != stored, "the upload to have begun")
            self.link.reset()
            self.assert_nothing_came(stored, tasks)

    def test_a_download_that_is_truncated_says_so_and_the_next_is_whole(self):
        task_id = self.manager.upload(EXAMPLE)
        worker = HandWorker(self.manager)
        worker.finish(worker.claim_one())
        path = f"/v1/data_processor/download/{task_id}"
        with self.manager.connect() as sock:
            sock.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                         % path.encode())
            size = len(b"".join(iter(lambda: sock.recv(65536), b"")))
        self.link.limit("answers", size - 10)
        with self.assertRaises(http.client.IncompleteRead):
            call(self.link.address, "GET", path, headers={"Connection": "close"})
        self.link.limit("answers", -1)
        self.assertEqual(call(self.link.address, "GET", path).body, EXAMPLE_TOTALS)


@only_on("mysql", "without a broker there is nothing to lose")
class BrokerLink(Case):
    def test_a_broker_in_a_black_hole_stops_nobody(self):
        link = Proxy(self, AMQP_URL)
        manager = Manager(self, AMQP_URL=link.url).start()
        wait_until(lambda: manager.get("/readyz").json["broker"] == "up", "the broker to be up")
        worker = Worker(self, manager, AMQP_URL=link.url).start()
        manager.wait_status(manager.submit(), "DONE")
        link.mode("drop")
        ids = [manager.submit() for _ in range(5)] + [manager.upload(EXAMPLE)]
        for task_id in ids:
            manager.wait_status(task_id, "DONE")
        self.assertTrue(worker.is_alive())
        link.mend()
        link.reset()
        wait_until(lambda: manager.get("/readyz").json["outbox"]["rows"] == 0,
                   "the outbox to be told")
        manager.wait_status(manager.submit(), "DONE")


if __name__ == "__main__":
    main()
