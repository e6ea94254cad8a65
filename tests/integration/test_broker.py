"""RabbitMQ that is down, goes down, comes back and forgets: no task waits for it or is lost."""

from faults import servers
from support import Case, Manager, Worker, main, temp_dir, wait_until


class Broker(Case):
    """A RabbitMQ of our own, since it has to die."""

    @classmethod
    def setUpClass(cls):
        cls.folder = str(temp_dir(cls))
        cls.addClassCleanup(servers, "stop", cls.folder)
        cls.url = servers("start", "rabbitmq", cls.folder)

    def setUp(self):
        self.addCleanup(servers, "start", "rabbitmq", self.folder)

    def down(self):
        servers("kill", "rabbitmq", self.folder)

    def up(self):
        servers("restart", "rabbitmq", self.folder)

    def tell_queue(self, call, queue):
        """Lets a quorum queue hang, as after the loss of its leader, or go on."""
        servers("rabbitmqctl", self.folder, "eval", f"ok = sys:{call}('%2F_segue.{queue}').")

    def consumers(self, manager, queue=None):
        """How many there are of a queue, the manager's own; None when there is no such queue."""
        out = servers("rabbitmqctl", self.folder, "list_queues", "--silent", "name", "consumers")
        for line in out.splitlines():
            if line.split()[:1] == [f"segue.{queue or manager.queue}"]:
                return int(line.split()[1])
        return None

    def start_worker(self, manager, **settings):
        """A worker that the broker wakes."""
        worker = Worker(self, manager, **settings).start()
        wait_until(lambda: self.consumers(manager) == 1, "the worker to consume")
        return worker

    def wait_ready(self, manager, **expected):
        """Readiness is 200 all the time; waits until it tells what is expected."""
        def told():
            answer = manager.get("/readyz")
            self.assertEqual(answer.status, 200, answer)
            state = {**answer.json, "rows": answer.json["outbox"]["rows"]}
            return all(state[name] == value for name, value in expected.items())
        wait_until(told, f"readiness to tell {expected}", 120)

    def assert_all_done(self, manager, ids):
        for task_id in ids:
            manager.wait_status(task_id, "DONE")
            self.assertEqual(len(manager.show(task_id)["attempts"]), 1)

    def test_an_outage_costs_no_task(self):
        self.down()
        manager = Manager(self, AMQP_URL=self.url).start()
        self.wait_ready(manager, status="ready", broker="down")
        log = manager.wait_log("broker.down")  # a broker never reached is told, once
        self.assertIn("rabbitmq at 127.0.0.1", log)
        self.assertNotIn("guest", log)
        self.assertNotIn("broker.up", log)
        ids = [manager.submit() for _ in range(5)]
        self.wait_ready(manager, rows=5)
        worker = Worker(self, manager).start()
        self.assert_all_done(manager, ids)

        self.up()
        self.wait_ready(manager, broker="up", rows=0)
        self.assertEqual(manager.metric("segue_broker_up"), 1)
        wait_until(lambda: manager.metric("segue_outbox_published_total") >= 5,
                   "what was taken to be confirmed")
        worker.wait_log("broker.up")
        wait_until(lambda: self.consumers(manager) == 1, "the worker to consume again")
        self.assert_all_done(manager, [manager.submit() for _ in range(5)])

        self.down()
        self.wait_ready(manager, broker="down")
        ids = [manager.submit() for _ in range(5)]
        self.assert_all_done(manager, ids)
        self.up()
        self.wait_ready(manager, broker="up", rows=0)
        worker.wait_log("broker.up", 2)
        self.assert_all_done(manager, [manager.submit() for _ in range(5)])
        self.assertEqual(len(manager.tasks()), 20)

    def test_a_worker_is_woken_by_the_broker_and_not_by_its_clock(self):
        manager = Manager(self, AMQP_URL=self.url).start()
        self.start_worker(manager, POLL="1m")
        for _ in range(3):  # each would take a minute
            self.assert_all_done(manager, [manager.submit() for _ in range(3)])

    def test_a_queue_that_somebody_deletes_is_made_again_by_its_worker(self):
        manager = Manager(self, AMQP_URL=self.url).start()
        self.start_worker(manager)
        self.assert_all_done(manager, [manager.submit()])
        servers("rabbitmqctl", self.folder, "delete_queue", f"segue.{manager.queue}")
        self.assert_all_done(manager, [manager.submit() for _ in range(5)])
        self.wait_ready(manager, broker="up", rows=0)
        wait_until(lambda: self.consumers(manager) == 1, "the queue to be back")
        self.assert_all_done(manager, [manager.submit() for _ in range(5)])

    def test_tasks_make_no_queue_and_are_done_when_a_worker_comes(self):
        manager = Manager(self, AMQP_URL=self.url).start()
        ids = [manager.submit() for _ in range(3)]
        self.wait_ready(manager, broker="up", rows=0)
        self.assertIsNone(self.consumers(manager))
        self.start_worker(manager, POLL="1m")
        self.assert_all_done(manager, ids)

    def test_a_queue_that_hangs_delays_no_other(self):
        manager = Manager(self, AMQP_URL=self.url).start()
        self.start_worker(manager, POLL="1m")
        bad = f"{manager.queue}-bad"
        stranger = Worker(self, manager, "stranger", QUEUES=bad).start()
        wait_until(lambda: self.consumers(manager, bad) == 1, "the other queue to be there")
        stranger.stop()
        self.tell_queue("suspend", bad)
        self.addCleanup(self.tell_queue, "resume", bad)
        lost = []

        def held():  # no task is announced while the manager remembers the stranger
            lost.append(manager.submit(queue=bad))
            self.assert_all_done(manager, [manager.submit() for _ in range(3)])
            return "outbox.held" in manager.log()
        wait_until(held, "the messages to be held")
        self.assertIn(f"segue.{bad}", manager.wait_log("outbox.held"))
        self.assertNotIn("broker.down", manager.log())
        for task_id in lost:
            self.assertEqual(manager.show(task_id)["status"], "RECEIVED")

    def test_messages_that_are_too_many_do_no_harm(self):
        # Tasks are done by another worker before their messages are read.
        manager = Manager(self, AMQP_URL=self.url).start()
        self.start_worker(manager).stop()  # the queue is there
        poller = Worker(self, manager, "poller", AMQP_URL=None).start()
        ids = [manager.submit() for _ in range(20)]
        self.assert_all_done(manager, ids)
        self.wait_ready(manager, broker="up", rows=0)
        poller.stop()
        worker = self.start_worker(manager)
        task_id = manager.submit()
        self.assert_all_done(manager, [task_id])
        self.assertEqual(manager.show(task_id)["attempts"][0]["worker"], worker.worker_name)


if __name__ == "__main__":
    main()
