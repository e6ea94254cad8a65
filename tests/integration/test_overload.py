"""More than there is room for: a full backlog, few file descriptors, clients that only hold on."""

import os
import stat

from support import (BIN, EXAMPLE, UPLOAD, Case, Manager, main, multipart, wait_until)


class FullBacklog(Case):
    """What was accepted before keeps its answer; what is new is refused."""

    def setUp(self):
        self.manager = Manager(self, MAX_QUEUED=3).start()
        self.form, self.form_headers = multipart(("file", "plays.csv", EXAMPLE))

    def submit(self, key, **members):
        return self.manager.call("POST", "/v1/tasks", headers={"Idempotency-Key": key},
                                 data={"type": "noop", **members})

    def upload_raw(self, key, content=EXAMPLE):
        return self.manager.call("POST", UPLOAD, content, {"Content-Type": "text/csv",
                                                           "Idempotency-Key": key})

    def upload_form(self, key):
        return self.manager.call("POST", UPLOAD, self.form,
                                 {**self.form_headers, "Idempotency-Key": key})

    def test_a_repeat_gets_its_first_answer_whatever_waits(self):
        kinds = {"json": self.submit, "raw": self.upload_raw, "form": self.upload_form}
        first = {kind: request(kind) for kind, request in kinds.items()}
        for answer in first.values():
            self.assertEqual(answer.status, 202, answer)
        wait_until(lambda: self.manager.post("/v1/tasks", {"type": "noop"}).status == 429,
                   "the backlog to be full")
        files = {key for key in self.manager.stored() if key.startswith("raw_data/")}
        for kind, request in kinds.items():
            with self.subTest(kind):
                again = request(kind)
                self.assertEqual((again.status, again.json), (202, first[kind].json))
                self.assertEqual(again.headers["Idempotent-Replayed"], "true")
                answer = request("another " + kind)
                self.assert_problem(answer, 429)
                self.assertTrue(answer.headers["Retry-After"])
        self.assert_problem(self.submit("json", priority=1), 422)
        self.assert_problem(self.upload_raw("raw", EXAMPLE + b"x,2020-01-01,1\n"), 422)
        self.manager.wait_clean()
        self.assertEqual({key for key in self.manager.stored() if key.startswith("raw_data/")},
                         files)


class FewDescriptors(Case):
    FILES = 256

    def start(self):
        """A manager that may open few files."""
        manager = Manager(self, HANDLER_THREADS=2)
        script = manager.cwd / "few"
        script.write_text(f"#!/bin/sh\nulimit -n {self.FILES}\nexec {BIN / 'task_manager'}\n")
        os.chmod(script, stat.S_IRWXU)
        manager.name = str(script)
        return manager.start()

    def test_connections_leave_descriptors_for_the_work(self):
        manager = self.start()
        self.assertIn("http.fewer_connections", manager.log())
        crowd = []
        with manager.connect() as kept:
            kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"200", kept.recv(4096))
            for _ in range(self.FILES):
                sock = manager.connect()
                self.addCleanup(sock.close)
                crowd.append(sock)
            # In the middle of that crowd a client that is in is served, with a file of its own.
            kept.sendall(f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                         f"Content-Length: {len(EXAMPLE)}\r\n\r\n".encode() + EXAMPLE)
            self.assertIn(b" 202 ", kept.recv(4096))
        for sock in crowd:
            sock.close()
        wait_until(lambda: self.is_served(manager), "others to be served again")
        self.assertEqual(len(manager.tasks()), 1)

    @staticmethod
    def is_served(manager):
        try:
            return manager.get("/readyz").status == 200
        except OSError:
            return False


if __name__ == "__main__":
    main()
