#!/usr/bin/env python3
"""`data_processor aggregate` as a user meets it: files, pipes, exit codes, what is left behind."""
import os
import pty
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


class Command(unittest.TestCase):
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

    def test_a_terminal_sees_a_bar_that_is_gone_at_the_end(self):
        ours, theirs = pty.openpty()
        ran = subprocess.run([PROGRAM, "aggregate", "in.csv", "out.csv"], stderr=theirs,
                             cwd=self.dir, timeout=60)
        os.close(theirs)
        seen = os.read(ours, 65536)
        os.close(ours)
        self.assertEqual(ran.returncode, 0)
        self.assertRegex(seen, rb"\[[#.]{24}\] +\d+ %, 0 MB read, 0.0 million rows, \d+ MB/s")
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

    def test_wrong_usage_is_exit_2_with_the_usage(self):
        for arguments in ([], ["in.csv"], ["in.csv", "out.csv", "more"],
                          ["in.csv", "out.csv", "--threads", "-1"],
                          ["in.csv", "out.csv", "--threads", "1x"],
                          ["in.csv", "out.csv", "--threads", "99999999999999999999"],
                          ["in.csv", "out.csv", "--memory", "much"],
                          ["in.csv", "out.csv", "--memory", "1K"],
                          ["in.csv", "out.csv", "--on-bad-row", "ignore"],
                          ["in.csv", "out.csv", "--rejects", "r.csv"],
                          ["in.csv", "out.csv", "--on-bad-row=skip", "--rejects", "out.csv"],
                          ["in.csv", "out.csv", "--on-bad-row=skip", "--rejects", "./out.csv"],
                          ["in.csv", "out.csv", "--on-bad-row=skip", "--rejects", "./in.csv"],
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


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
