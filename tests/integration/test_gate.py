"""The request gate of the real program: what is malformed, oversized or slow goes no further."""

import time

from support import (SANITIZED, UPLOAD, Case, Manager, is_closed_by_peer, main, read_answer,
                     wait_until)

HOST = b"Host: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def post(*lines, body=b"{}"):
    return (b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
            + b"".join(lines) + b"\r\n" + body)


def get(target, *lines, host=HOST):
    return b"GET " + target + b" HTTP/1.1\r\n" + host + b"".join(lines) + b"\r\n"


# what -> the request, the status
REFUSED = {
    "two different Content-Lengths": (post(b"Content-Length: 2\r\n", b"Content-Length: 3\r\n"),
                                      400),
    "the same Content-Length twice": (post(b"Content-Length: 2\r\n", b"Content-Length: 2\r\n"),
                                      400),
    "a Content-Length that is a list": (post(b"Content-Length: 2, 2\r\n"), 400),
    "a Content-Length with a sign": (post(b"Content-Length: +2\r\n"), 400),
    "a Content-Length beyond 64 bits": (post(b"Content-Length: 99999999999999999999999\r\n"), 413),
    "Content-Length and chunked": (post(b"Content-Length: 2\r\n", CHUNKED), 400),
    "chunked and Content-Length": (post(CHUNKED, b"Content-Length: 2\r\n"), 400),
    "another transfer coding": (post(b"Transfer-Encoding: gzip, chunked\r\n"), 400),
    "chunked twice": (post(CHUNKED, CHUNKED), 400),
    "a NUL in the path": (get(b"/v1/tasks/%00"), 400),
    "a NUL in the query": (get(b"/v1/tasks?type=%00"), 400),
    "a dot segment": (get(b"/v1/../healthz"), 400),
    "a dot segment in disguise": (get(b"/v1/%2e%2E/healthz"), 400),
    "a slash in disguise": (get(b"/v1/data_processor/download/..%2f..%2fetc%2fpasswd"), 400),
    "an empty segment": (get(b"//v1/tasks"), 400),
    "a broken escape": (get(b"/v1/tasks/%zz"), 400),
    "a path that is not UTF-8": (get(b"/v1/tasks/%ff%fe"), 400),
    "no Host": (get(b"/healthz", host=b""), 400),
    "two Hosts": (get(b"/healthz", HOST), 400),
    "a long target": (get(b"/v1/tasks?type=" + b"x" * 3000), 414),
    "too many headers": (get(b"/healthz", *(b"X-%d: 1\r\n" % i for i in range(80))), 431),
    "a large header": (get(b"/healthz", b"X-Large: " + b"x" * 20000 + b"\r\n"), 431),
    "a folded header": (get(b"/healthz", b"X-Folded: a\r\n b\r\n"), 400),
    "a body where none belongs": (get(b"/healthz", b"Content-Length: 2\r\n") + b"{}", 400),
    "a coded body": (post(b"Content-Length: 2\r\n", b"Content-Encoding: gzip\r\n"), 415),
    "an unknown expectation": (post(b"Content-Length: 2\r\n", b"Expect: wonders\r\n"), 417),
    "an unknown method": (b"FETCH /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 501),
}


class Gate(Case):
    def test_what_is_malformed_is_refused_and_the_server_lives_on(self):
        manager = Manager(self).start()
        for what, (request, status) in REFUSED.items():
            with self.subTest(what):
                self.assertEqual(manager.raw(request).status, status)
        self.assertGreaterEqual(manager.metric("segue_http_gate_refused_total"), 15)
        self.assertEqual(manager.tasks(), [])

    def test_nothing_behind_a_doubtful_request_is_answered(self):
        manager = Manager(self).start()
        for request in (post(b"Content-Length: 2\r\n", CHUNKED), post(CHUNKED, CHUNKED),
                        post(b"Content-Length: 2\r\n", b"Content-Length: 40\r\n")):
            with self.subTest(request), manager.connect() as sock:
                sock.sendall(request + get(b"/healthz"))
                answer = read_answer(sock)
                self.assertEqual((answer.status, answer.headers["Connection"]), (400, "close"))
                self.assertTrue(is_closed_by_peer(sock))

    def test_requests_that_are_in_order_share_a_connection(self):
        manager = Manager(self).start()
        with manager.connect() as sock:
            for target, status in ((b"/healthz", 200), (b"/v1/tasks/123", 400),
                                   (b"/nothing", 404), (b"/readyz", 200)):
                sock.sendall(get(target))
                self.assertEqual(read_answer(sock).status, status)

    def test_a_refused_upload_is_answered_although_the_client_goes_on_sending(self):
        manager = Manager(self, MAX_UPLOAD_BYTES="64K").start()
        with manager.connect() as sock:
            sock.sendall(b"POST " + UPLOAD.encode() + b" HTTP/1.1\r\n" + HOST
                         + b"Content-Length: 1000000000\r\n\r\n")
            try:
                for _ in range(64):
                    sock.sendall(b"x" * 65536)
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.assertEqual(read_answer(sock).status, 413)
        manager.wait_clean()


def is_cut_after(sock, more):
    """Sends a little more; True when the other side has closed."""
    sock.setblocking(False)
    try:
        sock.send(more)
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except (BrokenPipeError, ConnectionResetError):
        return True


class Slow(Case):
    def test_a_header_that_takes_too_long_is_cut_off(self):
        manager = Manager(self, HEADER_TIMEOUT="300ms").start()
        with manager.connect() as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\n")
            self.assertTrue(is_closed_by_peer(sock))
        wait_until(lambda: manager.metric("segue_http_overdue_total") >= 1, "the cut to be counted")

    def test_a_header_that_trickles_is_cut_off(self):
        manager = Manager(self, HEADER_TIMEOUT="300ms").start()

        with manager.connect() as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\n")
            wait_until(lambda: is_cut_after(sock, b"X: y\r\n"), "the connection to be cut")

    def test_a_body_that_trickles_is_cut_off_and_leaves_nothing(self):
        manager = Manager(self, REQUEST_TIMEOUT="500ms", MIN_BODY_RATE="1M").start()

        with manager.connect() as sock:
            sock.sendall(b"POST " + UPLOAD.encode() + b" HTTP/1.1\r\n" + HOST
                         + b"Content-Length: 1000000\r\n\r\n")
            wait_until(lambda: is_cut_after(sock, b"x"), "the connection to be cut")
        manager.wait_clean()
        self.assertEqual(manager.tasks(), [])

    def test_an_idle_connection_is_closed(self):
        manager = Manager(self, IDLE_TIMEOUT="1s").start()
        with manager.connect() as sock:
            sock.sendall(get(b"/healthz"))
            self.assertEqual(read_answer(sock).status, 200)
            self.assertTrue(is_closed_by_peer(sock))

    def test_the_time_for_a_header_begins_with_its_first_byte(self):
        manager = Manager(self, HEADER_TIMEOUT="200ms", IDLE_TIMEOUT="20s").start()
        with manager.connect() as sock:
            for _ in range(2):
                sock.sendall(get(b"/healthz"))
                self.assertEqual(read_answer(sock).status, 200)
                # Another request takes longer than a header may.
                manager.post("/v1/worker/claim", {"worker": "w", "queues": [manager.queue],
                                                  "wait_ms": 1000})

    def test_a_long_poll_is_not_taken_for_a_slow_request(self):
        manager = Manager(self, HEADER_TIMEOUT="200ms", REQUEST_TIMEOUT="200ms",
                          IDLE_TIMEOUT="1s").start()
        began = time.monotonic()
        answer = manager.post("/v1/worker/claim", {"worker": "w", "queues": [manager.queue],
                                                   "wait_ms": 2500})
        self.assertEqual((answer.status, answer.json), (200, {"tasks": []}))
        self.assertGreater(time.monotonic() - began, 2)


class Connections(Case):
    def test_connections_beyond_the_limit_of_one_address_are_closed(self):
        manager = Manager(self, MAX_CONNECTIONS_PER_IP=16).start()
        held = self.hold(manager, 16)
        with manager.connect() as sock:
            self.assertTrue(is_closed_by_peer(sock))
        held.pop().close()
        self.hold(manager, 1)
        self.assert_served(held)

    def test_connections_beyond_the_limit_wait_for_a_place(self):
        manager = Manager(self, MAX_CONNECTIONS=16).start()
        held = self.hold(manager, 16)
        with manager.connect() as sock:
            sock.sendall(get(b"/healthz"))
            self.assert_served(held)
            sock.setblocking(False)
            self.assertRaises(BlockingIOError, sock.recv, 1)
            sock.setblocking(True)
            held.pop().close()
            self.assertEqual(read_answer(sock).status, 200)
        self.assert_served(held)

    def assert_served(self, held):
        for sock in held:
            sock.sendall(get(b"/healthz"))
            self.assertEqual(read_answer(sock).status, 200)

    def hold(self, manager, count):
        """Connections that have been served once: they are really in. The one that asked for
        readiness may still be on its way out, so a place may have to be waited for."""
        held = []
        while len(held) < count:
            sock = wait_until(lambda: self.served(manager), "a connection")
            self.addCleanup(sock.close)
            held.append(sock)
        return held

    @staticmethod
    def served(manager):
        sock = manager.connect()
        try:
            sock.sendall(get(b"/healthz"))
            if read_answer(sock).status == 200:
                return sock
        except (OSError, ValueError):
            pass
        sock.close()
        return None

    def test_hundreds_of_connections_at_once_are_all_served(self):
        manager = Manager(self).start()
        held = [manager.connect() for _ in range(100 if SANITIZED else 400)]
        for sock in held:
            sock.sendall(get(b"/healthz"))
        for sock in held:
            self.assertEqual(read_answer(sock).status, 200)
            sock.close()


if __name__ == "__main__":
    main()
