"""What a service manager hears from the programs, spoken as systemd does it."""

import os
import signal
import socket

from support import Case, Manager, Worker, children, cleanup_of, main, temp_dir, wait_until

WATCHDOG_USEC = 300_000  # a sign of life every 100 ms


class Ear:
    """The socket of NOTIFY_SOCKET; keeps what came, with the process that sent it."""

    def __init__(self, owner):
        self.path = str(temp_dir(owner) / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        cleanup_of(owner)(self.socket.close)
        self.socket.bind(self.path)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.setblocking(False)
        self.said = []

    def settings(self):
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": WATCHDOG_USEC}

    def listen(self):
        while True:
            try:
                text, extra, _, _ = self.socket.recvmsg(1024, 256)
            except BlockingIOError:
                return self.said
            pid = int.from_bytes(extra[0][2][:4], "little")
            self.said.append((pid, text.decode()))

    def wait(self, line):
        wait_until(lambda: any(line in text.split("\n") for _, text in self.listen()),
                   f"'{line}', but it said {self.said}")

    def wait_signs(self, count):
        """So many more signs of life."""
        goal = self.signs() + count
        wait_until(lambda: self.signs() >= goal, f"{count} signs of life")

    def signs(self):
        return sum("WATCHDOG=1" in text for _, text in self.listen())

    def forget(self):
        self.listen()
        self.said = []


class Notify(Case):
    def start_manager(self, **settings):
        ear = Ear(self)
        return ear, Manager(self, **ear.settings(), **settings).start()

    def test_a_manager_tells_that_it_is_ready_alive_and_stopping(self):
        ear, manager = self.start_manager(WORKERS=1)
        ear.wait("READY=1")
        ear.wait_signs(3)
        wait_until(lambda: children(manager.pid), "its worker")
        manager.wait_log("worker.ready")
        manager.stop()
        ear.wait("STOPPING=1")
        self.assertEqual({pid for pid, _ in ear.said}, {manager.pid})  # and nobody for it
        limit = [line for _, text in ear.said for line in text.split("\n")
                 if line.startswith("EXTEND_TIMEOUT_USEC=")]
        self.assertEqual(limit, ["EXTEND_TIMEOUT_USEC=15000000"])

    def test_a_manager_whose_disk_is_full_is_alive(self):
        ear, manager = self.start_manager()
        manager.stop()
        manager.settings["MIN_FREE_BYTES"] = "500T"
        manager.launch()
        ear.wait("READY=1")
        ear.forget()
        ear.wait_signs(3)

    def test_a_worker_tells_that_it_is_ready_alive_and_stopping(self):
        manager, ear = Manager(self).start(), Ear(self)
        worker = Worker(self, manager, SLOTS=2, **ear.settings()).start()
        ear.wait("READY=1")
        ear.wait_signs(3)
        self.assertTrue(any("STATUS=consuming; 0 of 2 slots busy" in text for _, text in ear.said))
        worker.stop()
        ear.wait("STOPPING=1")
        self.assertEqual({pid for pid, _ in ear.said}, {worker.pid})

    def test_a_worker_whose_manager_is_away_is_alive_and_says_so(self):
        manager, ear = Manager(self).start(), Ear(self)
        Worker(self, manager, HEALTH_AFTER="200ms", **ear.settings()).start()
        ear.wait("READY=1")
        manager.kill()
        wait_until(lambda: any("has not answered" in text and "WATCHDOG=1" in text
                               for _, text in ear.listen()), "a sign of life with the reason")
        ear.wait_signs(2)

    def test_a_worker_without_processes_for_its_work_gives_no_sign(self):
        manager, ear = Manager(self).start(), Ear(self)
        worker = Worker(self, manager, HEALTH_AFTER="200ms", **ear.settings()).start()
        ear.wait("READY=1")
        slot = children(worker.pid)[0]
        self.assertTrue(os.path.exists(f"/proc/{slot}"))

        def is_starved():
            """Ends every process of the slot as soon as it is there."""
            for pid in children(worker.pid):
                os.kill(pid, signal.SIGKILL)
            return any("no slot has had a process" in text and "WATCHDOG=1" not in text
                       for _, text in ear.listen())
        wait_until(is_starved, "a sign of life that is withheld")


if __name__ == "__main__":
    main()
