"""The main job, end to end, in every way a user can ask for it."""

import collections
import csv
import gzip
import io
import json
import random

from support import (EXAMPLE, EXAMPLE_TOTALS, UPLOAD, Case, accepted, main, multipart, run, sha256,
                     start_pair, temp_dir)


def zstd_stored(content):
    """A zstd frame of one raw block (RFC 8878); enough for less than 256 bytes."""
    assert len(content) < 256
    block = (len(content) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(content)]) + block + content


def expected_totals(content):
    """The contract in Python: what any input without bad rows has to come to."""
    sums = collections.Counter()
    for song, date, plays in list(csv.reader(io.StringIO(content.decode())))[1:]:
        sums[song.encode(), date] += int(plays)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["Song", "Date", "Number of Plays"])
    for (song, date), plays in sorted(sums.items()):
        writer.writerow([song.decode(), date, plays])
    return out.getvalue().encode()


def random_plays(rows, seed):
    """Songs with commas, quotes and letters beyond ASCII, in no order."""
    rng = random.Random(seed)
    songs = [f"Song {i}" for i in range(200)]
    songs += ["Hello, Goodbye", 'The "Best" Of', "Für Elise", "東京", "🎵 Tune", " spaced ", "a\nb"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["Song", "Date", "Number of Plays"])
    for _ in range(rows):
        writer.writerow([rng.choice(songs), f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
                         rng.randint(0, 10**rng.randint(1, 12))])
    return out.getvalue().encode()


class TheExample(Case):
    @classmethod
    def setUpClass(cls):
        cls.manager = start_pair(cls)

    def assert_totals(self, task_id, totals=EXAMPLE_TOTALS):
        status = self.manager.wait_status(task_id, "DONE")
        link = f"{self.manager.url}/v1/data_processor/download/{task_id}"
        self.assertEqual(status, {"status": "DONE", "download_link": link})
        answer = self.manager.download(task_id)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.body, totals)
        self.assertEqual(answer.headers["Content-Disposition"],
                         f"attachment; filename=processed_{task_id}.csv")
        self.assertEqual(answer.headers["ETag"], f'"{sha256(totals)}"')

    def test_a_form_upload_gives_the_totals(self):
        body, headers = multipart(("queue", None, self.manager.queue.encode()),
                                  ("file", "plays.csv", EXAMPLE))
        answer = self.manager.call("POST", UPLOAD, body, headers)
        task_id = accepted(answer)
        self.assertEqual(answer.headers["Location"],
                         f"{self.manager.url}/v1/tasks/status/{task_id}")
        self.assert_totals(task_id)
        self.assertEqual(self.manager.show(task_id)["input_name"], "plays.csv")

    def test_a_raw_upload_gives_the_totals(self):
        task_id = self.manager.upload(EXAMPLE, filename="raw plays.csv")
        self.assert_totals(task_id)
        task = self.manager.show(task_id)
        self.assertEqual(task["input_name"], "raw plays.csv")
        self.assertEqual(task["input"]["sha256"], sha256(EXAMPLE))
        self.assertEqual(task["result"]["rows_in"], 7)

    def test_a_chunked_upload_gives_the_totals(self):
        pieces = (EXAMPLE[at:at + 10] for at in range(0, len(EXAMPLE), 10))
        self.assert_totals(self.manager.upload(pieces))

    def test_a_chunked_form_upload_gives_the_totals(self):
        body, headers = multipart(("file", "plays.csv", EXAMPLE),
                                  ("queue", None, self.manager.queue.encode()))
        answer = self.manager.call("POST", UPLOAD, (bytes([byte]) for byte in body), headers)
        self.assert_totals(accepted(answer))

    def test_a_gzip_file_gives_the_totals(self):
        self.assert_totals(self.manager.upload(gzip.compress(EXAMPLE),
                                               {"Content-Type": "application/gzip"}))

    def test_a_zstd_file_gives_the_totals(self):
        self.assert_totals(self.manager.upload(zstd_stored(EXAMPLE),
                                               {"Content-Type": "application/zstd"}))

    def test_a_header_alone_gives_a_header_alone(self):
        header = b"Song,Date,Number of Plays\n"
        self.assert_totals(self.manager.upload(header), header)

    def test_two_hundred_thousand_rows_add_up(self):
        content = random_plays(200_000, seed=7)
        self.assert_totals(self.manager.upload(content), expected_totals(content))

    def test_bad_rows_can_be_skipped_and_are_listed(self):
        content = EXAMPLE + b"Umbrella,2020-02-30,1\nUmbrella,2020-01-01,-5\n"
        task_id = self.manager.upload(content, on_bad_row="skip")
        self.assert_totals(task_id)
        result = self.manager.show(task_id)["result"]
        self.assertEqual((result["rows_in"], result["rows_summed"], result["rows_rejected"]),
                         (9, 7, 2))
        answer = self.manager.download(task_id, "?artifact=rejects")
        self.assertEqual(answer.status, 200)
        rows = list(csv.reader(io.StringIO(answer.body.decode())))
        self.assertEqual(rows[0], ["line", "column", "reason", "excerpt"])
        self.assertEqual([row[0] for row in rows[1:]], ["9", "10"])

    def test_without_bad_rows_there_are_no_rejects(self):
        task_id = self.manager.upload(EXAMPLE, on_bad_row="skip")
        self.assert_totals(task_id)
        self.assertEqual(self.manager.download(task_id, "?artifact=rejects").status, 404)

    def test_taskctl_uploads_waits_and_saves(self):
        folder = temp_dir(self)
        (folder / "plays.csv").write_bytes(EXAMPLE)
        done = run("taskctl", "upload", "plays.csv", "--queue", self.manager.queue, "--wait",
                   "-o", "totals.csv", cwd=folder, TASK_MANAGER_URL=self.manager.url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((folder / "totals.csv").read_bytes(), EXAMPLE_TOTALS)

    def test_taskctl_says_by_its_exit_code_how_the_task_ended(self):
        folder = temp_dir(self)
        (folder / "bad.csv").write_bytes(EXAMPLE + b"Umbrella,yesterday,1\n")
        done = run("taskctl", "upload", "bad.csv", "--queue", self.manager.queue, "--wait",
                   cwd=folder, TASK_MANAGER_URL=self.manager.url)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"line 9", done.stdout + done.stderr)
        done = run("taskctl", "upload", "bad.csv", cwd=folder,
                   TASK_MANAGER_URL="http://127.0.0.1:1")
        self.assertEqual(done.returncode, 111, done.stderr)
        self.assertEqual(run("taskctl", "upload", cwd=folder).returncode, 2)

    def test_taskctl_submits_shows_lists_and_cancels(self):
        def taskctl(*arguments):
            done = run("taskctl", *arguments, "--json", cwd=self.manager.cwd,
                       TASK_MANAGER_URL=self.manager.url)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)
        task_id = self.manager.submit(run_at="2199-01-01T00:00:00Z")
        self.assertEqual(taskctl("status", task_id)["status"], "RECEIVED")
        self.assertEqual(taskctl("show", task_id)["id"], task_id)
        self.assertIn(task_id, [task["id"] for task in taskctl("list")["tasks"]])
        self.assertEqual(taskctl("cancel", task_id)["status"], "CANCELLED")

    def test_the_same_totals_come_without_any_server(self):
        folder = temp_dir(self)
        (folder / "plays.csv").write_bytes(EXAMPLE)
        done = run("data_processor", "aggregate", "plays.csv", "totals.csv", cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((folder / "totals.csv").read_bytes(), EXAMPLE_TOTALS)
        done = run("data_processor", "aggregate", "-", "-", cwd=folder, input=EXAMPLE)
        self.assertEqual(done.stdout, EXAMPLE_TOTALS, done.stderr)


if __name__ == "__main__":
    main()
