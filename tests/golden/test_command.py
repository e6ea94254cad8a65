#!/usr/bin/env python3
"""`data_processor aggregate` as a user meets it: files, pipes, exit codes, what is left behind."""
import errno
import os
import pty
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import unittest
import zlib

PROGRAM = None
GOOD = b"Song,Date,Number of Plays\nb,2024-01-01,1\na,2024-01-01,2\nb,2024-01-01,3\n"
TOTALS = b"Song,Date,Number of Plays\na,2024-01-01,2\nb,2024-01-01,4\n"
BAD = GOOD + b"c,2024-01-01,-1\n"


def all_of(terminal):
    """What was written to it, whose writers are gone; it comes in pieces. Closes it."""
    seen = b""
    with open(terminal, "rb", buffering=0) as pieces:
        while True:
            try:
                piece = pieces.read(65536)
            except OSError as error:
                if error.errno != errno.EIO:  # the end of a terminal, after all was read
                    raise
                return seen
            if not piece:
                return seen
            seen += piece


class Case(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.dir = self.scratch.name
        self.put("in.csv", GOOD)
        self.put("bad.csv", BAD)

    def tearDown(self):
        self.scratch.cleanup()

    def path(self, name):
        return os.path.join(self.dir, name)

    def put(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def run_it(self, *arguments, **more):
        return subprocess.run([PROGRAM, "aggregate", *arguments], capture_output=True,
                              cwd=self.dir, timeout=60, **more)

    def left(self):
        return sorted(os.listdir(self.dir))


class Command(Case):
    def test_a_terminal_sees_a_bar_that_is_gone_at_the_end(self):
        try:
            ours, theirs = pty.openpty()
        except OSError as error:  # the text of the bar has a test without one (test_bar.c)
            self.skipTest(f"this machine has no terminals to give: {error}")
        ran = subprocess.run([PROGRAM, "aggregate", "in.csv", "out.csv"], stderr=theirs,
                             cwd=self.dir, timeout=60)
        os.close(theirs)
        seen = all_of(ours)
        self.assertEqual(ran.returncode, 0)
        self.assertRegex(seen, rb"\[[#.]{24}\] +\d+ %, 0 MB read, 0.0 million rows, \d+ MB/s"
                         rb", 0:00:\d\d left")
        self.assertRegex(seen.split(b"\r\x1b[K")[-1], rb"^aggregate: 3 rows in")

    def test_a_file_becomes_its_totals_and_a_summary(self):
        ran = self.run_it("in.csv", "out.csv")
        self.assertEqual((ran.returncode, ran.stdout), (0, b""))
        self.assertEqual(self.read("out.csv"), TOTALS)
        self.assertIn(b"3 rows in, 3 summed, 0 rejected, 2 totals out", ran.stderr)
        self.assertEqual(self.left(), ["bad.csv", "in.csv", "out.csv"])

    def test_a_dash_is_standard_input_and_output(self):
        ran = self.run_it("-", "-", "--threads=2", "--memory", "16M", input=GOOD)
        self.assertEqual((ran.returncode, ran.stdout), (0, TOTALS))

    def test_bad_input_is_exit_1_and_an_old_output_stays(self):
        self.put("out.csv", b"old")
        ran = self.run_it("bad.csv", "out.csv")
        self.assertEqual(ran.returncode, 1)
        self.assertIn(b'line 5, column Number of Plays: not a whole number written in digits '
                      b'only: "-1"\n', ran.stderr)
        self.assertEqual(self.read("out.csv"), b"old")
        self.assertEqual(self.left(), ["bad.csv", "in.csv", "out.csv"])

    def test_skip_lists_the_bad_rows(self):
        ran = self.run_it("bad.csv", "out.csv", "--on-bad-row", "skip", "--rejects", "r.csv")
        self.assertEqual(ran.returncode, 0)
        self.assertEqual(self.read("out.csv"), TOTALS)
        self.assertEqual(self.read("r.csv"), b"line,column,reason,excerpt\n"
                         b"5,Number of Plays,bad_plays,-1\n")
        self.assertIn(b"rejected for bad_plays: 1", ran.stderr)

    def test_the_bad_rows_of_standard_input_may_go_to_standard_output(self):
        ran = self.run_it("-", "out.csv", "--on-bad-row=skip", "--rejects", "-", input=BAD)
        self.assertEqual((ran.returncode, self.read("out.csv")), (0, TOTALS), ran)
        self.assertIn(b"bad_plays", ran.stdout)

    def test_parquet_is_the_same_bytes_in_a_file_in_a_pipe_and_with_any_memory(self):
        rows = b"".join(b"song %d,2024-01-%02d,%d\n" % (i % 5000, 1 + i % 30, i) for i in range(60000))
        for content in (GOOD, GOOD + rows, GOOD + rows + b"zz,2024-01-01,%d\n" % 2**63):
            self.put("in.csv", content)
            ran = self.run_it("in.csv", "out.parquet", "--format", "parquet", "--threads", "1")
            self.assertEqual(ran.returncode, 0, ran)
            expected = self.read("out.parquet")
            self.assertEqual(expected[:4] + expected[-4:], b"PAR1PAR1")
            for more in ((), ("--threads", "3"), ("--threads", "2", "--memory", "1M")):
                ran = self.run_it("-", "-", "--format=parquet", *more, input=content)
                self.assertEqual((ran.returncode, ran.stdout == expected), (0, True), ran.stderr)
            self.assertEqual(self.left(), ["bad.csv", "in.csv", "out.parquet"])

    def test_what_fails_as_parquet_leaves_nothing_behind(self):
        for content in (BAD, GOOD + b"c,2024-01-01,%d\n" % 10**38):
            ran = self.run_it("-", "out.parquet", "--format", "parquet", input=content)
            self.assertEqual(ran.returncode, 1)
            self.assertEqual(self.left(), ["bad.csv", "in.csv"])
        self.assertIn(b'the plays of "c" on 2024-01-01 add up to more than the 38 digits', ran.stderr)

    def test_wrong_usage_is_exit_2_with_the_usage(self):
        for arguments in ([], ["in.csv"], ["in.csv", "out.csv", "more"],
                          ["in.csv", "out.csv", "--threads", "-1"],
                          ["in.csv", "out.csv", "--threads", "1x"],
                          ["in.csv", "out.csv", "--threads", "99999999999999999999"],
                          ["in.csv", "out.csv", "--memory", "much"],
                          ["in.csv", "out.csv", "--memory", "1K"],
                          ["in.csv", "out.csv", "--on-bad-row", "ignore"],
                          ["in.csv", "out.csv", "--format", "xls"],
                          ["in.csv", "out.csv", "--rejects", "r.csv"],
                          ["in.csv", "out.csv", "--on-bad-row=skip", "--rejects", "out.csv"],
                          ["in.csv", "out.csv", "--on-bad-row=skip", "--rejects", "./out.csv"],
                          ["in.csv", "out.csv", "--on-bad-row=skip", "--rejects", "./in.csv"],
                          ["in.csv", "-", "--on-bad-row=skip", "--rejects", "-"],
                          ["in.csv", ""],
                          ["in.csv", "out.csv", "--on-bad-row=skip", "--rejects", ""],
                          ["in.csv", "out.csv", "--unknown"], ["in.csv", "out.csv", "--memory"]):
            ran = self.run_it(*arguments)
            self.assertEqual(ran.returncode, 2, arguments)
            self.assertIn(b"Usage: data_processor aggregate", ran.stderr)
        self.assertEqual(self.left(), ["bad.csv", "in.csv"])
        ran = self.run_it("--help")
        self.assertEqual(ran.returncode, 0)
        self.assertIn(b"Usage: data_processor aggregate", ran.stdout)

    def test_what_may_work_later_is_exit_111(self):
        for arguments in (["nothing.csv", "out.csv"], [".", "out.csv"],
                          ["in.csv", "no/such/dir/out.csv"], ["in.csv", "/dev/full"],
                          ["bad.csv", "out.csv", "--on-bad-row=skip", "--rejects", "/dev/full"]):
            ran = self.run_it(*arguments)
            self.assertEqual(ran.returncode, 111, (arguments, ran.stderr))
        self.assertEqual(self.left(), ["bad.csv", "in.csv"])

    def test_a_closed_pipe_is_exit_111(self):
        ends = os.pipe()
        os.close(ends[0])
        ran = subprocess.run([PROGRAM, "aggregate", "in.csv", "-"], stdout=ends[1],
                             stderr=subprocess.PIPE, cwd=self.dir, timeout=60)
        os.close(ends[1])
        self.assertEqual(ran.returncode, 111)

    def test_the_output_may_replace_the_input(self):
        self.assertEqual(self.run_it("in.csv", "in.csv").returncode, 0)
        self.assertEqual(self.read("in.csv"), TOTALS)

    def test_a_link_is_followed_and_a_device_is_not_replaced(self):
        self.put("real.csv", b"old")
        os.symlink("real.csv", self.path("link.csv"))
        self.assertEqual(self.run_it("in.csv", "link.csv").returncode, 0)
        self.assertTrue(os.path.islink(self.path("link.csv")))
        self.assertEqual(self.read("real.csv"), TOTALS)
        self.assertEqual(self.run_it("in.csv", "/dev/null").returncode, 0)
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode))

    def test_a_signal_leaves_nothing_behind(self):
        process = subprocess.Popen([PROGRAM, "aggregate", "-", "out.csv"], stdin=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, cwd=self.dir)
        # The pipe holds 64 KiB: once this is written the command has opened its output.
        process.stdin.write(GOOD + b"a,2024-01-01,2\n" * 40000)
        process.stdin.flush()
        self.assertEqual(len(self.left()), 3)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), -signal.SIGTERM)
        process.stdin.close()
        self.assertEqual(self.left(), ["bad.csv", "in.csv"])

    def test_a_wrong_name_does_not_hide_compression(self):
        squeezer = zlib.compressobj(wbits=31)
        self.put("plain.csv", squeezer.compress(GOOD) + squeezer.flush())
        self.put("in.gz", GOOD)
        for name in "plain.csv", "in.gz":
            self.assertEqual(self.run_it(name, "-").stdout, TOTALS)


ROW = b"a song with the number %d,2024-01-01,1\n"


class Spilling(Case):
    """Past the memory limit, with runs on the disk."""

    def start(self, output="out.csv"):
        return subprocess.Popen([PROGRAM, "aggregate", "-", output, "--memory=1M", "--threads=2"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, cwd=self.dir)

    def spilled_bytes(self, pid):
        """What lies in files of our folder that have no name."""
        size = 0
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                status = os.stat(f"/proc/{pid}/fd/{fd}")
                place = os.readlink(f"/proc/{pid}/fd/{fd}")
            except FileNotFoundError:  # closed meanwhile
                continue
            if place.startswith(os.path.realpath(self.dir)) and status.st_nlink == 0:
                size += status.st_size
        return size

    def feed_until_it_spills(self, process):
        for block in range(1000):
            process.stdin.write(GOOD[:26] if block == 0 else b"")
            process.stdin.write(b"".join(ROW % i for i in range(block * 5000, block * 5000 + 5000)))
            process.stdin.flush()
            if self.spilled_bytes(process.pid) > 0:
                return
        self.fail("five million songs went into 1 MB")

    def test_kill_9_while_spilling_leaves_no_run(self):
        process = self.start()
        self.feed_until_it_spills(process)
        process.kill()
        process.communicate()
        parts = [name for name in self.left() if name.endswith(".part")]
        self.assertEqual(self.left(), sorted(["bad.csv", "in.csv", *parts]))
        self.assertEqual([self.read(name) for name in parts], [b""])

    def test_a_signal_while_spilling_leaves_nothing(self):
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            process = self.start()
            self.feed_until_it_spills(process)
            process.send_signal(number)
            process.communicate()
            self.assertEqual(process.returncode, -number)
            self.assertEqual(self.left(), ["bad.csv", "in.csv"])

    def test_no_room_for_runs_is_exit_111_and_leaves_nothing(self):
        """`ulimit -f` is a disk that is full for one process; a write fails half way."""
        for room in 0, 1000, 300_000:
            process = self.start()
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, room))
            rows = GOOD[:26] + b"".join(ROW % i for i in range(100_000))
            said = process.communicate(rows)[1]
            self.assertEqual(process.returncode, 111, said)
            self.assertIn(b"aggregate: write a temporary file in ", said)
            self.assertEqual(self.left(), ["bad.csv", "in.csv"])

    def test_what_was_spilled_is_all_there(self):
        rows = b"".join(ROW % (i * 7919 % 100_000) for i in range(100_000))
        due = [b"a song with the number %s,2024-01-01,1" % number
               for number in sorted(b"%d" % i for i in range(100_000))]
        process = self.start("-")
        out, said = process.communicate(GOOD[:26] + rows)
        self.assertEqual(process.returncode, 0, said)
        self.assertRegex(said, rb" [1-9]\d+ runs spilled")
        self.assertEqual(out.splitlines()[1:], due)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
