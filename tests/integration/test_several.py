"""Several task managers and workers on one database and one object store: they share the work
without doing any of it twice, and all of them can be restarted one after the other."""

import http.client
import threading
import uuid

from faults import Proxy
from support import (EXAMPLE, EXAMPLE_TOTALS, PATIENCE, UPLOAD, Case, HandWorker, Manager, Worker,
                     call, main, make_database_old, make_old,
                     wait_until)


class Submitter(threading.Thread):
    """A client that goes on submitting whatever happens, as clients should: under a key, again
    until it is answered, at whichever manager answers."""

    def __init__(self, managers, queue):
        super().__init__()
        self.managers, self.queue = managers, queue
        self.ending = threading.Event()
        self.noops, self.files, self.wrong = [], [], []

    def submit_once(self, manager, number, key):
        headers = {"Idempotency-Key": key}
        if number % 4:
            return call(manager.address, "POST", "/v1/tasks", headers=headers,
                        data={"type": "noop", "queue": self.queue, "max_attempts": 50})
        return call(manager.address, "POST", f"{UPLOAD}?queue={self.queue}", EXAMPLE,
                    {"Content-Type": "text/csv", **headers})

    def submit(self, number):
        key = str(uuid.uuid4())
        for attempt in range(100000):
            manager = self.managers[(number + attempt) % len(self.managers)]
            try:
                answer = self.submit_once(manager, number, key)
            except (OSError, http.client.HTTPException):
                self.ending.wait(0.01)  # it is being restarted
                continue
            if answer.status == 202:
                (self.noops if number % 4 else self.files).append(answer.json["task_id"])
                return
            if answer.status != 503:
                self.wrong.append(answer)
                return
            self.ending.wait(0.01)

    def run(self):
        number = 0
        while not self.ending.is_set():
            self.submit(number)
            number += 1
            self.ending.wait(0.005)


class Several(Case):
    def start_managers(self, **settings):
        first = Manager(self, **settings).start()
        shared = {name: first.settings[name] for name in ("DATABASE_URL", "STORAGE_URL")}
        second = Manager(self, first.cwd, **settings, **shared)
        second.queue = first.queue
        return first, second.start()

    def wait_sum(self, managers, metric, value):
        """All of them together come to this, which is counted after it has been done, and do not
        go beyond."""
        def total():
            return sum(manager.metric(metric) for manager in managers)
        wait_until(lambda: total() >= value, f"{metric} to be {value}")
        self.assertEqual(total(), value)

    def ends_of(self, manager, task_id):
        return [event["to"] for event in manager.show(task_id)["events"]
                if event["to"] in ("DONE", "FAILED", "CANCELLED")]

    def test_all_can_be_restarted_one_after_the_other_under_load(self):
        managers = self.start_managers(MAX_ATTEMPTS=50)
        workers = [Worker(self, manager, f"w{i}", SLOTS=2).start()
                   for i, manager in enumerate((*managers, managers[0]))]
        client = Submitter(managers, managers[0].queue)
        client.start()
        try:
            for program in (*managers, *workers):
                before = len(client.noops)
                wait_until(lambda before=before: len(client.noops) > before + 5, "some load")
                program.stop()
                program.start()
        finally:
            client.ending.set()
            client.join(4 * PATIENCE)
        self.assertEqual(client.wrong, [])
        accepted = client.noops + client.files
        self.assertEqual(len(accepted), len(set(accepted)))
        for task_id in accepted:
            managers[1].wait_status(task_id, "DONE")
            self.assertEqual(self.ends_of(managers[0], task_id), ["DONE"])
        for task_id in client.files:
            self.assertEqual(managers[0].download(task_id).body, EXAMPLE_TOTALS)
        self.assertEqual({task["id"] for task in managers[0].tasks()}, set(accepted))
        wait_until(lambda: managers[0].get("/readyz").json["outbox"]["rows"] == 0,
                   "every message to be sent")
        managers[0].wait_clean()

    def test_two_reapers_return_each_lost_task_once(self):
        managers = self.start_managers(LEASE="1s", MAX_ATTEMPTS=50)
        ids = [managers[i % 2].submit() for i in range(40)]
        silent = HandWorker(managers[0], "silent")
        self.assertEqual(len(silent.claim(limit=len(ids))), len(ids))
        for task_id in ids:
            wait_until(lambda task_id=task_id: managers[1].status(task_id)["status"] == "RECEIVED",
                       "a lost task to be returned")
        for task_id in ids:
            returns = [event["actor"] for event in managers[0].show(task_id)["events"]
                       if event["to"] == "RECEIVED" and event["from"]]
            self.assertEqual(returns, ["reaper"])
        self.wait_sum(managers, "segue_leases_expired_total", len(ids))

    def test_two_managers_send_each_message_and_few_of_them_twice(self):
        """A manager publishes what it has just committed while the other may be reading the outbox."""
        managers = self.start_managers()
        ids = [managers[i % 2].submit(run_at="2199-01-01T00:00:00Z") for i in range(4)]
        # In several queues: of a crowd in one, not every task is announced.
        ids += [managers[i % 2].submit(queue=f"{managers[0].queue}-{i % 8}") for i in range(200)]
        wait_until(lambda: managers[0].get("/readyz").json["outbox"]["rows"] == 0,
                   "every due message to be sent")
        sent = sum(manager.metric("segue_outbox_published_total") for manager in managers)
        self.assertGreaterEqual(sent, len(ids) - 4)
        self.assertLess(sent, 1.5 * len(ids))

    def test_an_upload_that_waits_for_the_database_is_not_swept_by_another_manager(self):
        direct = Manager(self, SWEEP_AFTER="1s").start()
        make_database_old(direct)
        link = Proxy(self, direct.settings["DATABASE_URL"])
        held_up = Manager(self, direct.cwd, DATABASE_URL=link.url, SWEEP_AFTER="1s",
                          STORAGE_URL=direct.settings["STORAGE_URL"]).start()
        link.mode("pause")
        answers = []
        client = threading.Thread(target=lambda: answers.append(held_up.call(
            "POST", UPLOAD, EXAMPLE, {"Content-Type": "text/csv"})))
        client.start()
        key = wait_until(lambda: [k for k in direct.stored() if k.endswith(".csv")], "the file")[0]
        make_old(direct.storage / key)
        for _ in range(2):  # sweeps of the other manager, which finds no task for the file
            orphan = direct.storage / f"raw_data/raw_{uuid.uuid4()}.csv"
            orphan.write_bytes(b"x")
            make_old(orphan)
            wait_until(lambda orphan=orphan: not orphan.exists(), "a sweep")
        was_there = key in direct.stored()
        link.mend()
        client.join(4 * PATIENCE)
        if answers[0].status == 503:
            return  # all this took longer than a silent database is waited for
        self.assertEqual(answers[0].status, 202, answers)
        task = direct.show(answers[0].json["task_id"])
        self.assertEqual(task["file_input_path"], key)
        self.assertTrue(was_there)
        self.assertEqual(direct.stored(), {key})

    def test_two_may_keep_house_at_once(self):
        managers = self.start_managers(RETENTION="1s", SWEEP_AFTER="1s", LEASE="5m")
        worker = HandWorker(managers[1])
        for i in range(20):
            managers[i % 2].upload(EXAMPLE)
            worker.finish(worker.claim_one())
        running = managers[0].upload(EXAMPLE)
        work = worker.claim_one()
        wait_until(lambda: [task["id"] for task in managers[0].tasks()] == [running],
                   "all that ended to be removed")
        wait_until(lambda: len(managers[0].stored()) == 1, "their files to be gone")
        self.wait_sum(managers, "segue_tasks_removed_total", 20)
        worker.finish(work)
        for manager in managers:
            self.assertNotIn("housekeeping.failing", manager.log())


if __name__ == "__main__":
    main()
