"""Parquet through the real programs: totals of plays, and a container of blobs, read by others."""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from support import (EXAMPLE, EXAMPLE_TOTALS, UPLOAD, Case, main, multipart, accepted, run, sha256, start_pair,
                     temp_dir)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "readers/parquet"))
import readers  # noqa: E402

EPOCH_2020 = 18262  # days from 1970-01-01 to 2020-01-01
EXPORTS = Path(os.environ.get("SEGUE_TEST_TOOLS", "build/dev/tests")) / "parquet_exports"


def cell(text):
    return f"{len(text.encode())}:{text.encode().hex()}"


def lines_of(totals):
    """What readers must find, of a CSV whose days are all in January 2020."""
    rows = list(csv.reader(io.StringIO(totals.decode())))[1:]
    return [f"{cell(song)}\t{EPOCH_2020 + int(day[-2:]) - 1}\t{plays}" for song, day, plays in rows]


class Parquet(Case):
    @classmethod
    def setUpClass(cls):
        cls.manager = start_pair(cls)
        try:
            readers.fetch()
        except readers.Failed as error:
            if os.environ.get("SEGUE_TEST_REQUIRE_ALL"):
                raise
            raise unittest.SkipTest(f"the readers cannot be installed: {error}") from error

    def read(self, reader, *contents):
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{i}.parquet" for i in range(len(contents))]
            for file, content in zip(files, contents):
                file.write_bytes(content)
            readers.read(reader, files, Path(folder) / "found")
            return (Path(folder) / "found").read_text().splitlines()

    def assert_read(self, content, expected):
        for reader in readers.READERS:
            with self.subTest(reader=reader):
                self.assertEqual(self.read(reader, content), expected)

    def fetch(self, task_id):
        self.manager.wait_status(task_id, "DONE")
        answer = self.manager.download(task_id)
        self.assertEqual(answer.status, 200)
        return answer

    # totals of plays

    def test_totals_come_as_parquet_with_its_type_and_name(self):
        task_id = self.manager.upload(EXAMPLE, format="parquet")
        answer = self.fetch(task_id)
        self.assertEqual(answer.headers["Content-Type"], "application/vnd.apache.parquet")
        self.assertIn(f"filename=processed_{task_id}.parquet",
                      answer.headers["Content-Disposition"].replace('"', ""))
        self.assertEqual(answer.headers["ETag"].strip('"'), sha256(answer.body))
        self.assertEqual(self.manager.show(task_id)["result"]["bytes_out"], len(answer.body))
        self.assert_read(answer.body, lines_of(EXAMPLE_TOTALS))

    def test_a_form_may_ask_for_parquet_too(self):
        body, headers = multipart(("file", "plays.csv", EXAMPLE), ("format", None, b"parquet"),
                                  ("on_bad_row", None, b"skip"),
                                  ("queue", None, self.manager.queue.encode()))
        task_id = accepted(self.manager.call("POST", UPLOAD, body, headers))
        self.assertEqual(self.fetch(task_id).body[:4], b"PAR1")

    def test_csv_stays_what_it_was(self):
        for query in ({}, {"format": "csv"}):
            answer = self.fetch(self.manager.upload(EXAMPLE, **query))
            self.assertEqual(answer.body, EXAMPLE_TOTALS)
            self.assertEqual(answer.headers["Content-Type"], "text/csv; charset=utf-8")

    def test_one_large_total_makes_decimals_of_all(self):
        large = EXAMPLE + b"zz,2020-01-03,9223372036854775808\n"
        expected = lines_of(EXAMPLE_TOTALS) + [f"{cell('zz')}\t{EPOCH_2020 + 2}\t9223372036854775808"]
        self.assert_read(self.fetch(self.manager.upload(large, format="parquet")).body, expected)

    def test_a_total_of_39_digits_is_an_error_that_names_it(self):
        content = EXAMPLE + b"zz,2020-01-03,%d\n" % 10 ** 38
        task_id = self.manager.upload(content, format="parquet")
        status = self.manager.wait_status(task_id, "FAILED")
        self.assertEqual(status["error_class"], "input")
        self.assertIn('the plays of "zz" on 2020-01-03 add up to more than the 38 digits', status["error"])
        self.assertEqual([name for name in self.manager.stored() if task_id in name], [])

    def test_an_unknown_format_is_refused(self):
        for query in ("format=xls", "format=%22", "format=parquet&format=csv"):
            answer = self.manager.call("POST", f"{UPLOAD}?{query}", EXAMPLE, {"Content-Type": "text/csv"})
            self.assert_problem(answer, 400)

    def test_the_command_writes_the_same_bytes(self):
        folder = temp_dir(self)
        (folder / "plays.csv").write_bytes(EXAMPLE)
        done = run("data_processor", "aggregate", "plays.csv", "totals.parquet", "--format", "parquet", cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        written = (folder / "totals.parquet").read_bytes()
        self.assertEqual(written, self.fetch(self.manager.upload(EXAMPLE, format="parquet")).body)

    def test_taskctl_asks_for_parquet_and_saves_it_under_its_name(self):
        folder = temp_dir(self)
        (folder / "plays.csv").write_bytes(EXAMPLE)
        done = run("taskctl", "upload", "plays.csv", "--format", "parquet", "--queue", self.manager.queue, "--wait",
                   cwd=folder, TASK_MANAGER_URL=self.manager.url)
        self.assertEqual(done.returncode, 0, done.stderr)
        task_id = done.stdout.split()[0].decode()
        done = run("taskctl", "download", task_id, cwd=folder, TASK_MANAGER_URL=self.manager.url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((folder / f"processed_{task_id}.parquet").read_bytes()[:4], b"PAR1")

    # containers

    def container(self, name):
        """Makes the container in the manager's object store; returns what readers must find."""
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as expected:
            subprocess.run([EXPORTS, name, "fill", self.manager.storage, expected.name], check=True)
            return expected.read().splitlines()

    def test_a_container_becomes_parts_that_readers_find_whole(self):
        expected = self.container("odd")
        task_id = self.manager.submit("parquet_export", params={
            "container": "odd", "single_parquet": True, "part_rows": 5})
        answer = self.fetch(task_id)
        result = self.manager.show(task_id)["result"]
        contents = [(self.manager.storage / part["key"]).read_bytes() for part in result["parts"]]
        self.assertEqual(result["files"], 4)
        self.assertEqual(result["parquet_path"], result["parts"][-1]["key"])
        self.assertEqual(answer.body, contents[-1])
        self.assertEqual([sha256(content) for content in contents], [part["sha256"] for part in result["parts"]])
        for reader in readers.READERS:
            self.assertEqual(self.read(reader, *contents), expected)

    def test_a_file_for_each_blob_has_no_parquet_path_and_a_manifest(self):
        expected = self.container("odd")
        task_id = self.manager.submit("parquet_export", params={"container": "odd"})
        answer = self.fetch(task_id)
        result = self.manager.show(task_id)["result"]
        listed = [json.loads(line) for line in answer.body.splitlines()]
        self.assertIsNone(result["parquet_path"])
        self.assertEqual(listed, result["parts"])
        self.assertEqual([line["rows"] for line in listed], [1] * len(expected))
        contents = [(self.manager.storage / line["key"]).read_bytes() for line in listed]
        self.assertEqual(self.read("duckdb", *contents), expected)

    def test_a_container_that_is_not_there_is_an_error_of_the_input(self):
        for name, word in (("nobody", "there is no container 'nobody'"), ("No_Name", "No_Name")):
            task_id = self.manager.submit("parquet_export", params={"container": name, "single_parquet": True})
            status = self.manager.wait_status(task_id, "FAILED")
            self.assertEqual(status["error_class"], "input")
            self.assertIn(word, status["error"])
            self.assertEqual([name for name in self.manager.stored() if task_id in name], [])

    def test_params_are_checked_at_once(self):
        for params in ({}, {"container": ""}, {"container": "x" * 64}, {"container": 1}, {"container": "a", "more": 1},
                       {"container": "a", "single_parquet": "yes"}, {"container": "a", "part_rows": 0},
                       {"container": "a", "part_rows": 1000001}):
            with self.subTest(params=params):
                answer = self.manager.call("POST", "/v1/tasks", data={"type": "parquet_export", "params": params})
                self.assert_problem(answer, 400)


if __name__ == "__main__":
    main()
