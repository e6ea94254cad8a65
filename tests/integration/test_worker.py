"""The worker under everything that happens to workers: crashes, deadlines, kills, pauses, stops."""

import os
import re
import signal

from support import (Case, Manager, Worker, children, main, process_exists, start_pair, wait_until)


def outcomes(manager, task_id):
    return [attempt["outcome"] for attempt in manager.show(task_id)["attempts"]]


class Jobs(Case):
    @classmethod
    def setUpClass(cls):
        cls.manager = start_pair(cls, slots=2)

    def test_a_task_with_nothing_to_do_is_done(self):
        task_id = self.manager.submit()
        self.assertEqual(self.manager.wait_status(task_id, "DONE"), {"status": "DONE"})
        task = self.manager.show(task_id)
        self.assertEqual((task["attempt"], task["error"]), (1, None))
        self.assertGreater(task["attempts"][0]["usage"]["peak_rss_bytes"], 0)

    def test_progress_is_shown_while_a_task_runs(self):
        manager = Manager(self, LEASE="600ms").start()
        Worker(self, manager).start()
        task_id = manager.submit(params={"sleep_ms": 600_000})
        wait_until(lambda: manager.status(task_id).get("progress", 0) > 0, "progress")
        self.assertLess(manager.status(task_id)["progress"], 1)

    def test_a_crash_is_told_with_its_cause(self):
        for word, number, text in (("abort", 6, "killed by signal 6 (SIGABRT)"),
                                   ("segv", 11, "killed by signal 11 (SIGSEGV)"),
                                   ("kill", 9, "killed by signal 9 (SIGKILL)"),
                                   ("exit", 0, "ended with exit code 3")):
            with self.subTest(word):
                task_id = self.manager.submit(params={"crash": word}, max_attempts=2)
                status = self.manager.wait_status(task_id, "FAILED")
                self.assertEqual(status["error_class"], "crash")
                self.assertIn(text, status["error"])
                attempts = self.manager.show(task_id)["attempts"]
                self.assertEqual([a["outcome"] for a in attempts], ["failed", "failed"])
                for attempt in attempts:
                    self.assertEqual(attempt["usage"]["signal"], number)
                    self.assertEqual(attempt["usage"]["exit_code"], 0 if number else 3)
        self.manager.wait_status(self.manager.submit(), "DONE")

    def test_a_task_that_crashed_is_tried_again_until_it_is_done(self):
        for word in ("abort", "segv", "kill", "exit"):
            with self.subTest(word):
                task_id = self.manager.submit(params={"crash": word, "crash_attempts": 1})
                self.manager.wait_status(task_id, "DONE")
                self.assertEqual(outcomes(self.manager, task_id), ["failed", "done"])

    def test_transient_failures_are_tried_again_and_input_failures_are_not(self):
        task_id = self.manager.submit(params={"fail": "transient", "fail_attempts": 2})
        self.manager.wait_status(task_id, "DONE")
        self.assertEqual(outcomes(self.manager, task_id), ["failed", "failed", "done"])
        task_id = self.manager.submit(params={"fail": "transient"}, max_attempts=2)
        status = self.manager.wait_status(task_id, "FAILED")
        self.assertEqual(status["error_class"], "transient")
        self.assertEqual(outcomes(self.manager, task_id), ["failed", "failed"])
        task_id = self.manager.submit(params={"fail": "input", "fail_attempts": 1})
        self.assertEqual(self.manager.wait_status(task_id, "FAILED")["error_class"], "input")
        self.assertEqual(outcomes(self.manager, task_id), ["failed"])

    def test_a_failed_attempt_is_followed_by_a_pause(self):
        manager = Manager(self, RETRY_BASE="1h", RETRY_CAP="1h").start()
        Worker(self, manager).start()
        task_id = manager.submit(params={"fail": "transient"})
        wait_until(lambda: outcomes(manager, task_id) == ["failed"], "the first attempt to fail")
        task = manager.show(task_id)
        self.assertEqual(task["status"], "RECEIVED")
        self.assertGreater(task["run_at"], task["created_at"])

    def test_a_deadline_ends_the_attempt_and_its_process(self):
        manager = Manager(self).start()
        worker = Worker(self, manager).start()
        (slot,) = children(worker.pid)
        task_id = manager.submit(params={"sleep_ms": 600_000}, timeout_s=1, max_attempts=1)
        status = manager.wait_status(task_id, "FAILED")
        self.assertEqual(status["error_class"], "timeout")
        self.assertIn("time limit of 1.0 s", status["error"])
        self.assertFalse(process_exists(slot))
        manager.wait_status(manager.submit(), "DONE")

    def test_a_lease_is_renewed_as_long_as_the_work_lasts(self):
        manager = Manager(self, LEASE="500ms").start()
        Worker(self, manager).start()
        task_id = manager.submit(params={"sleep_ms": 2000})
        manager.wait_status(task_id, "DONE")
        self.assertEqual(outcomes(manager, task_id), ["done"])


class Workers(Case):
    def start_manager(self, **settings):
        self.manager = Manager(self, **{"LEASE": "1s", **settings}).start()
        return self.manager

    def running_on(self, worker, **members):
        """A task that the worker has begun."""
        task_id = self.manager.submit(**members)
        wait_until(lambda: self.manager.show(task_id)["worker"] == worker.worker_name,
                   "the worker to begin")
        return task_id

    def told_by(self, task_id):
        """Worker and outcome of each attempt."""
        return [(attempt["worker"], attempt["outcome"])
                for attempt in self.manager.show(task_id)["attempts"]]

    def test_two_workers_share_the_work(self):
        self.start_manager()
        workers = [Worker(self, self.manager, name).start() for name in ("a", "b")]
        ids = [self.manager.submit(params={"sleep_ms": 500}) for _ in range(6)]
        for task_id in ids:
            self.manager.wait_status(task_id, "DONE")
        names = {self.told_by(task_id)[0][0] for task_id in ids}
        self.assertEqual(names, {worker.worker_name for worker in workers})

    def test_the_slots_of_a_worker_run_at_the_same_time(self):
        self.start_manager()
        worker = Worker(self, self.manager, SLOTS=3).start()
        ids = [self.manager.submit(params={"sleep_ms": 600_000}) for _ in range(3)]
        for task_id in ids:
            self.manager.wait_status(task_id, "PROCESSING")
        self.assertEqual(len(children(worker.pid)), 3)

    def test_the_task_of_a_killed_worker_runs_elsewhere_and_both_attempts_are_shown(self):
        self.start_manager()
        first = Worker(self, self.manager, "a").start()
        task_id = self.running_on(first, params={"sleep_ms": 1500})
        slots = children(first.pid)
        first.kill()
        wait_until(lambda: not any(process_exists(pid) for pid in slots),
                   "the children to die with their worker")
        second = Worker(self, self.manager, "b").start()
        self.manager.wait_status(task_id, "DONE")
        self.assertEqual(self.told_by(task_id),
                         [(first.worker_name, "lost"), (second.worker_name, "done")])
        error = self.manager.show(task_id)["attempts"][0]["error"]
        self.assertIn(f"'{first.worker_name}' fell silent", error["message"])

    def test_a_task_whose_workers_all_die_fails_with_a_sentence(self):
        self.start_manager()
        first = Worker(self, self.manager, "a").start()
        task_id = self.running_on(first, params={"sleep_ms": 600_000}, max_attempts=2)
        first.kill()
        second = Worker(self, self.manager, "b").start()
        wait_until(lambda: self.manager.show(task_id)["attempt"] == 2, "another attempt")
        second.kill()
        status = self.manager.wait_status(task_id, "FAILED")
        self.assertIn("fell silent during attempt 2 of 2", status["error"])

    def test_the_late_report_of_a_paused_worker_changes_nothing(self):
        self.start_manager()
        first = Worker(self, self.manager, "a").start()
        task_id = self.running_on(first, params={"sleep_ms": 1000})
        first.signal(signal.SIGSTOP)
        try:
            second = Worker(self, self.manager, "b").start()
            self.manager.wait_status(task_id, "DONE")
            second.stop()
            before = self.manager.show(task_id)
        finally:
            first.signal(signal.SIGCONT)
        # Awake again it either drops the attempt by itself or is told that it is stale.
        wait_until(lambda: "task.dropped" in first.log() or "stale" in first.log(),
                   "the first worker to see that it is late")
        self.manager.wait_status(self.running_on(first), "DONE")  # it goes on working
        self.assertEqual(self.manager.show(task_id), before)
        self.assertEqual(self.told_by(task_id),
                         [(first.worker_name, "lost"), (second.worker_name, "done")])

    def test_sigterm_lets_running_work_finish(self):
        self.start_manager(LEASE="1m")
        worker = Worker(self, self.manager, STOP_GRACE="1m", HEARTBEAT="100ms").start()
        task_id = self.running_on(worker, params={"sleep_ms": 3000})
        wait_until(lambda: self.manager.status(task_id).get("progress", 0) > 0, "progress")
        waiting = self.manager.submit()
        worker.stop()
        self.assertEqual(self.told_by(task_id), [(worker.worker_name, "done")])
        self.assertEqual(self.manager.status(waiting)["status"], "RECEIVED")

    def test_sigterm_hands_back_what_takes_longer_than_the_grace(self):
        self.start_manager(LEASE="1m")
        first = Worker(self, self.manager, "a", STOP_GRACE="200ms").start()
        task_id = self.running_on(first, params={"sleep_ms": 2000}, max_attempts=2)
        first.stop()
        self.assertEqual(self.manager.status(task_id), {"status": "RECEIVED"})
        second = Worker(self, self.manager, "b").start()
        self.manager.wait_status(task_id, "DONE")
        self.assertEqual(self.told_by(task_id),
                         [(first.worker_name, "released"), (second.worker_name, "done")])

    def test_workers_report_to_a_manager_that_was_killed_and_started_again(self):
        self.start_manager(LEASE="1m")
        worker = Worker(self, self.manager, SLOTS=2).start()
        ids = [self.running_on(worker, params={"sleep_ms": 1500}) for _ in range(2)]
        waiting = [self.manager.submit() for _ in range(3)]
        self.manager.kill()
        wait_until(lambda: worker.log().count("task.finished") == 2, "the work to be finished")
        self.manager.start()
        for task_id in ids + waiting:
            self.manager.wait_status(task_id, "DONE")
            self.assertEqual(self.told_by(task_id), [(worker.worker_name, "done")])

    def test_a_worker_waits_for_a_manager_that_is_not_there_yet(self):
        self.start_manager()
        self.manager.stop()
        worker = Worker(self, self.manager).start()
        self.manager.start()
        self.manager.wait_status(self.running_on(worker), "DONE")

    def test_workers_take_only_from_their_queues(self):
        self.start_manager()
        other = f"{self.manager.queue}.other"
        task_id = self.manager.submit(queue=other)
        Worker(self, self.manager).start()
        self.manager.wait_status(self.manager.submit(), "DONE")
        self.assertEqual(self.manager.status(task_id)["status"], "RECEIVED")
        Worker(self, self.manager, QUEUES=f"x,{other}").start()
        self.manager.wait_status(task_id, "DONE")


class OwnWorker(Case):
    def worker_of(self, manager):
        return wait_until(lambda: children(manager.pid), "the manager's own worker")[0]

    def test_the_manager_starts_its_own_worker_again_when_it_dies(self):
        manager = Manager(self, WORKERS=1, LEASE="1s").start()
        task_id = manager.submit(params={"sleep_ms": 1500})
        manager.wait_status(task_id, "PROCESSING")
        os.kill(self.worker_of(manager), signal.SIGKILL)
        manager.wait_status(task_id, "DONE")
        self.assertEqual(outcomes(manager, task_id), ["lost", "done"])
        self.assertTrue(re.search(r"worker\.ended .*signal=9", manager.log()))

    def test_the_managers_own_worker_ends_with_it(self):
        manager = Manager(self, WORKERS=2).start()
        manager.wait_status(manager.submit(), "DONE")
        worker = self.worker_of(manager)
        slots = children(worker)
        manager.kill()
        wait_until(lambda: not any(process_exists(pid) for pid in [worker, *slots]),
                   "the worker to end")

    def test_a_stop_ends_the_work_of_the_managers_own_worker_in_good_order(self):
        manager = Manager(self, WORKERS=1, LEASE="1m", STOP_GRACE="200ms").start()
        task_id = manager.submit(params={"sleep_ms": 600_000})
        manager.wait_status(task_id, "PROCESSING")
        slots = [slot for worker in children(manager.pid) for slot in children(worker)]
        manager.stop()
        self.assertFalse(any(process_exists(pid) for pid in slots))
        manager.settings["WORKERS"] = 0
        manager.start()
        self.assertEqual(manager.status(task_id)["status"], "RECEIVED")
        self.assertEqual(outcomes(manager, task_id), ["released"])

    def test_a_ctrl_c_is_for_the_manager_alone_and_one_request(self):
        manager = Manager(self, WORKERS=1, LEASE="600ms", STOP_GRACE="20s").start()
        task_id = manager.submit(params={"sleep_ms": 1500})
        wait_until(lambda: manager.status(task_id).get("progress", 0) > 0, "progress")
        worker = self.worker_of(manager)
        self.assertEqual(os.getpgid(worker), worker)
        for pid in manager.pid, worker:  # as from a terminal that does not care for groups
            os.kill(pid, signal.SIGINT)
        self.assertEqual(manager.wait_exit(), 0)
        manager.settings["WORKERS"] = 0
        manager.start()
        self.assertEqual(outcomes(manager, task_id), ["done"])

    def test_a_stop_that_reaches_every_process_costs_no_attempt(self):
        manager = Manager(self, WORKERS=1, LEASE="600ms").start()
        task_id = manager.submit(params={"sleep_ms": 600_000})
        wait_until(lambda: manager.status(task_id).get("progress", 0) > 0, "progress")
        worker = self.worker_of(manager)
        for pid in [*children(worker), worker, manager.pid]:  # as systemd does it
            os.kill(pid, signal.SIGTERM)
        self.assertEqual(manager.wait_exit(), 0)
        manager.settings["WORKERS"] = 0
        manager.start()
        self.assertEqual(manager.status(task_id)["status"], "RECEIVED")
        self.assertEqual(outcomes(manager, task_id), ["released"])


if __name__ == "__main__":
    main()
