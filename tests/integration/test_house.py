"""Keeping house: what crashes leave behind goes, what tasks need stays; old tasks go whole; a
task that kills its workers is given up."""

import signal
import uuid

from support import (EXAMPLE, EXAMPLE_TOTALS, UPLOAD, Case, HandWorker, Manager, Worker,
                     main, make_database_old, make_old, output_key, wait_until)

HEADER = b"Song,Date,Number of Plays\n"


class Sweep(Case):
    def setUp(self):
        self.manager = Manager(self, SWEEP_AFTER="1s", LEASE="5m").start()
        make_database_old(self.manager)

    def plant(self, key, content=b"x"):
        """An old file that no program has made."""
        path = self.manager.storage / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        make_old(path)
        return key

    def wait_gone(self, *keys):
        wait_until(lambda: not self.manager.stored() & set(keys), f"{keys} to be swept")

    def wait_two_sweeps(self):
        for _ in range(2):
            self.wait_gone(self.plant(f"raw_data/raw_{uuid.uuid4()}.csv"))

    def test_what_nobody_needs_is_swept_and_everything_else_stays(self):
        manager, worker = self.manager, HandWorker(self.manager)
        done = manager.upload(EXAMPLE)
        worker.finish(worker.claim_one())
        running = manager.upload(EXAMPLE)
        work = worker.claim_one()
        worker.heartbeat(work)
        written = self.plant(work["output_prefix"] + "totals.csv", EXAMPLE_TOTALS)
        self.plant(work["output_stem"] + "rejects.csv")
        waiting = manager.upload(EXAMPLE)
        for key in manager.stored():
            make_old(manager.storage / key)
        needed = manager.stored()
        foreign = {self.plant(f"processed_data/{'00' if done[-2:] != '00' else '01'}/{done}.2.totals.csv"),
                   self.plant(f"processed_data/{done[-2:]}/{done}.csv"), self.plant("raw_data/mine.csv"), self.plant("processed_data/report.csv"),
                   self.plant("elsewhere/raw_data/raw_1.csv")}
        orphans = {self.plant(f"raw_data/raw_{uuid.uuid4()}.csv"),
                   self.plant(f"processed_data/{uuid.uuid4()}/1/totals.csv"),
                   self.plant(f"processed_data/{done}/1/unnamed.csv"),
                   self.plant(f"processed_data/{done}/2/totals.csv"),
                   self.plant(f"processed_data/{waiting}/1/totals.csv"),
                   self.plant(output_key(str(uuid.uuid4()))),
                   self.plant(output_key(done, 1, "unnamed.csv")),
                   self.plant(output_key(done, 2)),
                   self.plant(output_key(waiting))}
        self.assertIn(written, needed)
        self.wait_gone(*orphans)
        self.wait_two_sweeps()
        self.assertEqual(manager.stored(), needed | foreign)
        self.assertGreaterEqual(manager.metric("segue_files_swept_total"), len(orphans))
        worker.finish(work)
        for task_id in (done, running):
            self.assertEqual(manager.download(task_id).body, EXAMPLE_TOTALS)

    def test_rejects_are_in_use_as_long_as_their_task_is_there(self):
        Worker(self, self.manager).start()
        task_id = self.manager.upload(HEADER + b"Umbrella,2020-01-01,1\nbad\n", on_bad_row="skip")
        self.manager.wait_status(task_id, "DONE")
        rejects = self.manager.download(task_id, "?artifact=rejects")
        self.assertEqual(rejects.status, 200, rejects)
        for key in self.manager.stored():
            make_old(self.manager.storage / key)
        self.wait_two_sweeps()
        self.assertEqual(len(self.manager.stored()), 3)  # input, totals, rejects
        self.assertEqual(self.manager.download(task_id, "?artifact=rejects").body, rejects.body)

    def test_files_from_before_the_database_are_left_alone(self):
        """As when a new database is put beside an object store that another one has filled."""
        manager = self.manager = Manager(self, SWEEP_AFTER="1s").start()
        before = self.plant(f"raw_data/raw_{uuid.uuid4()}.csv")
        for _ in range(2):
            young = manager.storage / f"raw_data/raw_{uuid.uuid4()}.csv"
            young.write_bytes(b"x")
            wait_until(lambda young=young: not young.exists(), "a sweep")
        self.assertIn(before, manager.stored())

    def test_old_folders_without_a_file_go_and_are_made_again(self):
        folder = self.manager.storage / f"processed_data/{uuid.uuid4()}/1"
        folder.mkdir(parents=True)
        make_old(folder)
        make_old(folder.parent)
        wait_until(lambda: not folder.parent.exists(), "the empty folders to be gone")
        self.assertTrue((self.manager.storage / "processed_data").exists())
        task_id, worker = self.manager.upload(EXAMPLE), HandWorker(self.manager)
        worker.finish(worker.claim_one())
        self.assertEqual(self.manager.download(task_id).body, EXAMPLE_TOTALS)


class PausedWorker(Case):
    @staticmethod
    def first_outcome(manager, task_id):
        """How the first attempt ended; None while it runs."""
        attempts = manager.show(task_id)["attempts"]
        return attempts[0]["outcome"] if attempts[0]["ended_at"] else None

    def late_worker(self, manager):
        """A worker that was stopped while its child wrote the result, and the task, whose lease
        has run out meanwhile."""
        rows = b"".join(b"Song %06d,2020-01-01,1\n" % i for i in range(100_000))
        worker = Worker(self, manager, "late").start()
        for _ in range(20):
            task_id = manager.upload(HEADER + rows)
            # Begun: from here on the child needs its parent only to report.
            wait_until(lambda: any(task_id in key for key in manager.stored()), "a file of it")
            worker.signal(signal.SIGSTOP)
            if wait_until(lambda: self.first_outcome(manager, task_id), "an end") == "lost":
                return worker, task_id
            worker.signal(signal.SIGCONT)  # it was faster: try another
        self.fail("the worker was always faster")

    def test_its_late_report_is_refused_and_its_files_are_swept(self):
        manager = Manager(self, LEASE="1s", MAX_ATTEMPTS=20).start()  # no sweep comes first
        late, task_id = self.late_worker(manager)
        try:
            first = manager.storage / output_key(task_id)
            wait_until(first.exists, "the result of the stopped worker's child")
            Worker(self, manager, "second").start()
            manager.wait_status(task_id, "DONE")
        finally:
            late.signal(signal.SIGCONT)
        wait_until(lambda: "task.dropped" in late.log() or "stale" in late.log(),
                   "the worker to see that it is late")
        task = manager.show(task_id)
        self.assertEqual(task["attempts"][-1]["outcome"], "done")
        wait_until(lambda: {key for key in manager.stored() if task_id in key}
                   == {output_key(task_id, task["attempt"])},
                   "the late files to be gone")
        self.assertEqual(manager.download(task_id).status, 200)


class Retention(Case):
    def test_ended_tasks_go_with_their_files_and_others_stay(self):
        manager = Manager(self, RETENTION="1s", RETRY_BASE="1h", RETRY_CAP="1h",
                          LEASE="5m").start()
        worker = HandWorker(manager)
        key = {"Idempotency-Key": "k"}
        done = manager.upload(EXAMPLE, headers=key)
        worker.finish(worker.claim_one())
        failed = manager.upload(EXAMPLE)
        worker.report(worker.claim_one(), "failed", error={"class": "input", "code": "x",
                                                          "message": "it is wrong"})
        cancelled = manager.upload(EXAMPLE)
        manager.call("DELETE", f"/v1/tasks/{cancelled}")
        tried = manager.upload(EXAMPLE)
        worker.report(worker.claim_one(), "failed", error={"class": "transient", "code": "x",
                                                          "message": "try again"})
        running = manager.upload(EXAMPLE)
        work = worker.claim_one()

        def is_gone(task_id):
            return manager.get(f"/v1/tasks/{task_id}").status == 404
        for task_id in (done, failed, cancelled):
            wait_until(lambda task_id=task_id: is_gone(task_id), "an ended task to be removed")
        self.assertEqual({task["id"] for task in manager.tasks()}, {tried, running})
        wait_until(lambda: len(manager.stored()) == 2, "the files of the others to be gone")
        self.assertEqual(manager.metric("segue_tasks_removed_total"), 3)
        # The key is remembered for as long as keys are: a repeat does not do the work again.
        answer = manager.call("POST", f"{UPLOAD}?queue={manager.queue}", EXAMPLE,
                              {"Content-Type": "text/csv", **key})
        self.assertEqual((answer.status, answer.json), (202, {"task_id": done}))
        worker.finish(work)

    def test_without_retention_nothing_goes(self):
        manager = Manager(self, RETENTION="0s", SWEEP_AFTER="1s").start()
        make_database_old(manager)
        worker = HandWorker(manager)
        task_id = manager.upload(EXAMPLE)
        worker.finish(worker.claim_one())
        for _ in range(2):  # rounds of housekeeping
            orphan = manager.storage / f"raw_data/raw_{uuid.uuid4()}.csv"
            orphan.write_bytes(b"x")
            make_old(orphan)
            wait_until(lambda orphan=orphan: not orphan.exists(), "a round of housekeeping")
        self.assertEqual(manager.download(task_id).body, EXAMPLE_TOTALS)


class Keys(Case):
    def test_keys_expire(self):
        manager = Manager(self, IDEMPOTENCY_TTL="1s").start()
        headers = {"Idempotency-Key": "k"}
        first = manager.submit(headers=headers)
        wait_until(lambda: manager.submit(headers=headers) != first, "the key to be forgotten")
        self.assertEqual(len(manager.tasks()), 2)
        wait_until(lambda: manager.metric("segue_idempotency_keys_forgotten_total") >= 1,
                   "that to be counted")


class Poison(Case):
    def test_a_task_that_kills_its_processes_is_given_up(self):
        manager = Manager(self, MAX_CRASHES=2).start()
        Worker(self, manager).start()
        task_id = manager.submit(params={"crash": "segv"}, max_attempts=10)
        status = manager.wait_status(task_id, "FAILED")
        self.assertEqual(status["error_class"], "crash")
        self.assertIn("2 crashed attempts", status["error"])
        self.assertIn("signal 11", status["error"])
        self.assertIn("peak memory", status["error"])
        task = manager.show(task_id)
        self.assertEqual(task["error"]["code"], "poison")
        self.assertEqual(len(task["attempts"]), 2)
        manager.call("POST", f"/v1/tasks/{task_id}/retry")  # and is counted anew
        wait_until(lambda: len(manager.show(task_id)["attempts"]) == 4, "two more attempts")
        manager.wait_status(task_id, "FAILED")
        self.assertEqual(len(manager.show(task_id)["attempts"]), 4)

    def test_other_failures_are_not_counted_with_crashes(self):
        manager = Manager(self, MAX_CRASHES=2).start()
        worker = HandWorker(manager)
        task_id = manager.submit(max_attempts=9)
        for class_name in ("transient", "crash", "timeout", "transient"):
            worker.report(worker.claim_one(wait_ms=20000), "failed", error={
                "class": class_name, "code": "x", "message": "it did not work"})
            self.assertEqual(manager.status(task_id)["status"], "RECEIVED")
        worker.report(worker.claim_one(wait_ms=20000), "failed", error={
            "class": "crash", "code": "signal", "message": "it died"})
        self.assertEqual(manager.show(task_id)["error"]["code"], "poison")

    def test_a_sentence_too_long_for_the_verdict_is_cut_between_characters(self):
        manager = Manager(self, MAX_CRASHES=1).start()
        worker = HandWorker(manager)
        for before in ("", "x"):
            task_id = manager.submit()
            message = before + "\u00e9" * 310
            answer = worker.report(worker.claim_one(wait_ms=20000), "failed", error={
                "class": "crash", "code": "signal", "message": message})
            self.assertEqual(answer.status, 200, answer)
            told = manager.show(task_id)["error"]["message"]
            self.assertIn(message[:290], told)
            self.assertEqual(set(told.split(": ", 1)[1]), set(message))
        self.assertEqual(len(manager.tasks()), 2)


if __name__ == "__main__":
    main()
