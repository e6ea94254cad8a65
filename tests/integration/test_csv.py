"""What a csv_plays task tells about itself: progress on the way, and what it took at the end."""

import gzip
import re
import resource

from support import (Case, Manager, SANITIZED, Worker, children, main, wait_until)

HEADER = b"Song,Date,Number of Plays\n"
BAD = (b"a,2024-02-30,1\n", b"a,2024-01-01,-1\n", b"a,2024-01-01,1.5\n", b",2024-01-01,1\n",
       b"a,2024-01-01\n")
REJECTED = {"bad_date": 1, "bad_plays": 2, "empty_song": 1, "field_count": 1}


def distinct_plays(rows):
    return HEADER + b"".join(b"song %d,2024-01-01,1\n" % i for i in range(rows))


def descendants(pid):
    return [pid] + [below for child in children(pid) for below in descendants(child)]


class Csv(Case):
    @classmethod
    def setUpClass(cls):
        cls.manager = Manager(cls).start()
        cls.worker = Worker(cls, cls.manager, LOG_LEVEL="debug").start()

    def result(self, task_id):
        self.manager.wait_status(task_id, "DONE")
        return self.manager.show(task_id)["result"]

    def progress_of(self, task_id):
        """The numbers of each task.progress line that the worker logged."""
        lines = [line for line in self.worker.log().splitlines()
                 if "task.progress" in line and task_id in line]
        return [{name: int(value) for name, value in re.findall(r"(\w+)=(\d+)(?=\s|$)", line)}
                for line in lines]

    def test_the_result_says_what_went_in_and_out_and_what_it_took(self):
        content = distinct_plays(1000) + b"".join(BAD) + b"song 1,2024-01-01,5\n"
        packed = gzip.compress(content)
        task_id = self.manager.upload(packed, on_bad_row="skip")
        result = self.result(task_id)
        totals = self.manager.download(task_id).body
        rejects = result.pop("rejects")
        seconds, peak = result.pop("seconds"), result.pop("peak_memory_bytes")
        self.assertEqual(result, {
            "rows_in": 1001 + len(BAD), "rows_summed": 1001, "rows_rejected": len(BAD),
            "groups": 1000, "bytes_in": len(packed), "bytes_inflated": len(content),
            "bytes_out": len(totals), "spilled_runs": 0, "rejected": REJECTED})
        self.assertEqual(set(rejects), {"key", "size", "sha256"})
        usage = self.manager.show(task_id)["attempts"][0]["usage"]
        self.assertGreaterEqual(seconds, 0)
        self.assertLessEqual(seconds, usage["wall_ms"] / 1000 + 0.001)
        self.assertGreater(peak, 100_000)
        self.assertLessEqual(peak, usage["peak_rss_bytes"])

    def test_progress_reaches_the_worker_with_bytes_rows_and_rate(self):
        content = distinct_plays(50_000)
        task_id = self.manager.upload(content)
        self.result(task_id)
        told = self.progress_of(task_id)
        self.assertTrue(told)
        for numbers in told:
            self.assertEqual(set(numbers), {"percent", "bytes_read", "bytes_total", "bytes_per_s",
                                            "rows", "rows_per_s"})
            self.assertEqual(numbers["bytes_total"], len(content))
            self.assertTrue(0 < numbers["bytes_read"] <= len(content))
            self.assertGreater(numbers["bytes_per_s"], 0)
            self.assertLessEqual(numbers["rows"], 50_000)
        self.assertEqual(self.manager.status(task_id).get("progress"), None)
        self.assertEqual(self.manager.show(task_id)["progress"], 1)

    def test_peak_memory_is_that_of_the_attempt_and_not_of_the_one_before(self):
        """One slot, one process: the second task must not be charged for the first."""
        if SANITIZED:
            self.skipTest("a sanitizer keeps memory that was freed")
        large = self.result(self.manager.upload(distinct_plays(400_000)))
        small = self.result(self.manager.upload(distinct_plays(10)))
        self.assertGreater(large["peak_memory_bytes"], 15_000_000)
        self.assertLess(small["peak_memory_bytes"], large["peak_memory_bytes"] - 5_000_000)

    def test_memory_of_a_job_is_a_setting_and_more_songs_are_spilled(self):
        queue = self.manager.queue + "-small"
        worker = Worker(self, self.manager, JOB_MEMORY="16M", QUEUES=queue).start()
        content = distinct_plays(700_000)
        task_id = self.manager.upload(content, queue=queue)
        result = self.result(task_id)
        self.assertGreater(result["spilled_runs"], 1)
        self.assertEqual((result["rows_in"], result["groups"]), (700_000, 700_000))
        if not SANITIZED:
            self.assertLess(result["peak_memory_bytes"], (16 << 20) + 16_000_000)
        worker.stop()

    def test_a_full_disk_is_a_transient_failure_that_leaves_nothing(self):
        """`ulimit -f` stands for it: a write fails in the middle of a file."""
        queue = self.manager.queue + "-full"
        worker = Worker(self, self.manager, QUEUES=queue).start()
        for pid in descendants(worker.pid):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
        before = self.manager.stored()
        task_id = self.manager.upload(distinct_plays(20_000), queue=queue)
        ended = wait_until(lambda: [attempt for attempt in self.manager.show(task_id)["attempts"]
                                    if attempt["outcome"] == "failed"], "the attempt to fail")
        self.assertEqual((ended[0]["error"]["class"], ended[0]["usage"]["signal"]),
                         ("transient", 0), ended)
        self.assertIn("File too large", ended[0]["error"]["message"])
        self.manager.call("DELETE", f"/v1/tasks/{task_id}")
        self.manager.wait_status(task_id, "CANCELLED")
        wait_until(lambda: len(self.manager.stored() - before) == 1, "the unfinished file to go")
        self.assertTrue((self.manager.stored() - before).pop().startswith("raw_data/"))
        worker.stop()


if __name__ == "__main__":
    main()
