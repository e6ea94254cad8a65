"""Whose task it is: leases, takeovers, fencing, and what is left of an attempt that was ended."""

import os
import signal
import time
from pathlib import Path

from faults import Proxy
from support import (BACKEND, EXAMPLE, EXAMPLE_TOTALS, Case, Manager, Worker, children, main,
                     only_on, output_key, process_exists, run, wait_until)


def told_by(manager, task_id):
    """Worker and outcome of each attempt."""
    return [(attempt["worker"], attempt["outcome"])
            for attempt in manager.show(task_id)["attempts"]]


def family(pid):
    """Everything below a process."""
    found = []
    for child in children(pid):
        found += [child, *family(child)]
    return found


class Takeover(Case):
    def test_the_task_of_a_killed_worker_runs_elsewhere_soon(self):
        """With default settings; the time is told, for people to judge."""
        manager = Manager(self).start()
        first = Worker(self, manager, "a").start()
        task_id = manager.submit(params={"sleep_ms": 600_000})
        wait_until(lambda: manager.show(task_id)["worker"] == first.worker_name, "an attempt")
        second = Worker(self, manager, "b").start()
        below = family(first.pid)
        began = time.monotonic()
        first.kill()
        wait_until(lambda: manager.show(task_id)["worker"] == second.worker_name,
                   "the task to run elsewhere", 120)
        print(f"kill -9 of a worker: its task ran elsewhere after "
              f"{time.monotonic() - began:.1f} s ({BACKEND}, default settings)", flush=True)
        self.assertEqual(told_by(manager, task_id)[0], (first.worker_name, "lost"))
        self.assertFalse([pid for pid in below if process_exists(pid)])
        self.assertEqual(manager.call("DELETE", f"/v1/tasks/{task_id}").status, 200)

    def test_a_worker_that_was_stopped_past_its_lease_records_nothing(self):
        manager = Manager(self, LEASE="1s").start()
        first = Worker(self, manager, "a", LOG_LEVEL="debug").start()
        slots = family(first.pid)
        for pid in slots:  # the job begins, but is not done before its worker is stopped
            os.kill(pid, signal.SIGSTOP)
        task_id = manager.upload(EXAMPLE)
        first.wait_log(f"task.started task_id={task_id}")
        first.signal(signal.SIGSTOP)
        for pid in slots:
            os.kill(pid, signal.SIGCONT)
        written = output_key(task_id)
        wait_until(lambda: written in manager.stored(), "the job to write its output")
        second = Worker(self, manager, "b").start()
        manager.wait_status(task_id, "DONE")
        before = manager.show(task_id)
        first.signal(signal.SIGCONT)
        wait_until(lambda: written not in manager.stored(), "the late output to be removed")
        self.assertEqual(manager.show(task_id), before)
        self.assertEqual(manager.download(task_id).body, EXAMPLE_TOTALS)
        self.assertEqual(told_by(manager, task_id),
                         [(first.worker_name, "lost"), (second.worker_name, "done")])

    def test_a_report_whose_answer_is_lost_counts_once(self):
        manager = Manager(self, LEASE="1m").start()
        proxy = Proxy(self, manager.url)
        proxy.trap("unanswered", b"/v1/worker/report", 3)
        worker = Worker(self, manager, TASK_MANAGER_URL=proxy.url).start()
        ids = [manager.upload(EXAMPLE), *(manager.submit() for _ in range(5))]
        for task_id in ids:
            manager.wait_status(task_id, "DONE")
        wait_until(lambda: proxy.sprung() == 3, "three answers to be lost")
        self.assertIn("manager.away use=report", worker.log())
        worker.stop()  # which waits until every report has its answer
        for task_id in ids:
            self.assertEqual(told_by(manager, task_id), [(worker.worker_name, "done")])
        self.assertEqual(manager.download(ids[0]).body, EXAMPLE_TOTALS)


class Ends(Case):
    def test_a_cancelled_task_takes_everything_it_started_with_it(self):
        manager = Manager(self, LEASE="600ms").start()
        worker = Worker(self, manager).start()
        idle = len(family(worker.pid))
        for word in "group", "session", "stubborn":
            with self.subTest(word):
                task_id = manager.submit(params={"spawn": word, "sleep_ms": 600_000})
                below = wait_until(lambda: len(family(worker.pid)) == idle + 1
                                   and family(worker.pid), "the job to start a process")
                answer = manager.call("DELETE", f"/v1/tasks/{task_id}")
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(manager.status(task_id)["status"], "CANCELLED")
                wait_until(lambda: not any(process_exists(pid) for pid in below),
                           "all of them to end")
                manager.wait_status(manager.submit(), "DONE")
                wait_until(lambda: len(family(worker.pid)) == idle, "nothing to be left")

    def test_a_rolling_restart_of_all_workers_loses_and_doubles_nothing(self):
        manager = Manager(self, LEASE="1m").start()
        workers = [Worker(self, manager, name, SLOTS=2).start() for name in ("a", "b", "c")]
        ids = [manager.submit(params={"sleep_ms": 100}) for _ in range(30)]
        for worker in workers:
            worker.stop()
            ids += [manager.submit(params={"sleep_ms": 100}) for _ in range(10)]
            worker.start()
        for task_id in ids:
            manager.wait_status(task_id, "DONE")
            outcomes = [outcome for _, outcome in told_by(manager, task_id)]
            self.assertEqual((outcomes.count("done"), set(outcomes) - {"done", "released"}),
                             (1, set()))


class Health(Case):
    @only_on("mysql", "there is no broker to lose")
    def test_the_health_of_a_worker_tells_how_it_stands_with_the_broker(self):
        manager = Manager(self).start()
        proxy = Proxy(self, manager.settings["AMQP_URL"])
        door = Path(manager.cwd) / "health"
        Worker(self, manager, AMQP_URL=proxy.url, HEALTH_SOCKET=door).start()

        def says(text):
            done = run("data_processor", "health", cwd=manager.cwd, HEALTH_SOCKET=door)
            return done.returncode == 0 and text in done.stdout
        wait_until(lambda: says(b"the broker's link is up"), "the link to be up")
        proxy.cut()
        wait_until(lambda: says(b"the broker is away, by polling"), "the link to be down")
        manager.wait_status(manager.submit(), "DONE")
        proxy.mend()
        wait_until(lambda: says(b"the broker's link is up"), "the link to be up again")


if __name__ == "__main__":
    main()
