"""Large uploads in constant memory, beside other requests, and uploads that break off."""

import gzip
import threading

from support import (EXAMPLE, SANITIZED, UPLOAD, Case, Manager, is_closed_by_peer, main, multipart,
                     peak_memory, start_pair, wait_until)

MB = 1 << 20
MEMORY = 64 * MB
ROW = b"Umbrella,2020-01-01,1\n"
BLOCK = ROW * (MB // len(ROW))


def blocks(count, on_block=lambda number: None):
    yield b"Song,Date,Number of Plays\n"
    for number in range(count):
        on_block(number)
        yield BLOCK


class Streaming(Case):
    def assert_small(self, manager):
        """Sanitizers keep what was freed, so that their figures say nothing."""
        if not SANITIZED:
            self.assertLess(peak_memory(manager.pid), MEMORY)

    def test_a_large_upload_takes_constant_memory_while_others_are_served(self):
        manager = Manager(self).start()
        count = 60 if SANITIZED else 300
        met = []

        def meanwhile(number):
            if number % 20 == 0:
                met.append(manager.get("/readyz").status)
                met.append(manager.call("POST", "/v1/tasks", data={"type": "noop"}).status)
        task_id = manager.upload(blocks(count, meanwhile))
        self.assertEqual(set(met), {200, 202})
        size = len(b"".join(blocks(0))) + count * len(BLOCK)
        self.assertEqual(manager.show(task_id)["input"]["size"], size)
        self.assertEqual(manager.metric("segue_upload_bytes_total"), size)
        self.assert_small(manager)
        manager.wait_clean()

    def test_a_large_form_and_a_large_download_take_constant_memory(self):
        manager = Manager(self).start()
        count = 20 if SANITIZED else 100
        body, headers = multipart(("file", "large.csv", b"".join(blocks(count))))
        answer = manager.call("POST", UPLOAD, body, headers)
        key = manager.show(answer.json["task_id"])["file_input_path"]
        self.assertEqual((manager.storage / key).stat().st_size, count * len(BLOCK) + 26)
        result = "processed_data/large.csv"
        (manager.storage / result).hardlink_to(manager.storage / key)
        manager.call("PUT", f"/v1/tasks/status/{answer.json['task_id']}",
                     data={"status": "PROCESSING"})
        done = manager.post("/v1/data_processor/notify", {
            "task_id": answer.json["task_id"], "status": "DONE", "file_output_path": result})
        self.assertEqual(done.status, 200, done)
        self.assertEqual(len(manager.download(answer.json["task_id"]).body),
                         count * len(BLOCK) + 26)
        self.assert_small(manager)

    def test_many_uploads_at_once_come_through(self):
        manager = start_pair(self)
        ids = []
        threads = [threading.Thread(target=lambda: ids.append(manager.upload(blocks(3))))
                   for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(ids)), 12)
        plays = 3 * BLOCK.count(b"\n")
        for task_id in ids:
            manager.wait_status(task_id, "DONE")
            self.assertEqual(manager.download(task_id).body,
                             f"Song,Date,Number of Plays\nUmbrella,2020-01-01,{plays}\n".encode())
        self.assert_small(manager)

    def test_a_file_that_inflates_too_much_is_refused_by_the_job(self):
        manager = start_pair(self, MAX_INFLATED_BYTES="1M")
        task_id = manager.upload(gzip.compress(b"".join(blocks(3))),
                                 {"Content-Type": "application/gzip"})
        status = manager.wait_status(task_id, "FAILED")
        self.assertEqual(status["error_class"], "input", status)
        manager.wait_clean()


class BrokenOff(Case):
    def begin(self, manager, head, body):
        sock = manager.connect()
        self.addCleanup(sock.close)
        sock.sendall(f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body)
        wait_until(lambda: any(key.endswith(".part") for key in manager.stored()),
                   "the upload to arrive")
        return sock

    def assert_nothing_left(self, manager):
        manager.wait_clean()
        self.assertEqual((manager.tasks(), manager.stored()), ([], set()))

    def test_an_upload_that_breaks_off_leaves_nothing(self):
        manager = Manager(self).start()
        form, headers = multipart(("file", "a.csv", BLOCK))
        for what, head, body in (
                ("with a length", f"Content-Length: {10 * MB}\r\n", BLOCK),
                ("chunked", "Transfer-Encoding: chunked\r\n", b"10000\r\n" + b"x" * 65536),
                ("a form", f"Content-Type: {headers['Content-Type']}\r\n"
                           f"Content-Length: {len(form)}\r\n", form[:MB // 2])):
            with self.subTest(what):
                self.begin(manager, head, body).close()
                self.assert_nothing_left(manager)

    def test_a_client_that_only_stops_sending_gets_no_task(self):
        manager = Manager(self, IDLE_TIMEOUT="1s").start()
        sock = self.begin(manager, f"Content-Length: {10 * MB}\r\n", BLOCK)
        self.assertTrue(is_closed_by_peer(sock))
        self.assert_nothing_left(manager)

    def test_the_unfinished_upload_of_a_killed_manager_is_swept(self):
        manager = Manager(self, SWEEP_AFTER="1s").start()
        self.begin(manager, f"Content-Length: {10 * MB}\r\n", BLOCK)
        manager.kill()
        self.assertTrue(any(key.endswith(".part") for key in manager.stored()))
        # The sweep at the start finds it once it is old enough.
        wait_until(lambda: self.restarted_clean(manager), "the part to be swept")
        self.assert_nothing_left(manager)

    def restarted_clean(self, manager):
        manager.start()
        if not manager.leftovers():
            return True
        manager.stop()
        return False

    def test_a_directory_that_somebody_removed_is_made_again(self):
        manager = start_pair(self)
        for folder in ("raw_data", "processed_data"):
            for path in (manager.storage / folder).rglob("*"):
                path.unlink()
            (manager.storage / folder).rmdir()
        manager.wait_status(manager.upload(EXAMPLE), "DONE")


if __name__ == "__main__":
    main()
