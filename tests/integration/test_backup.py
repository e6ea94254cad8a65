"""scripts/backup.sh and scripts/restore.sh: taken under load, restored elsewhere, compared."""

import hashlib
import os
import subprocess
import threading
from pathlib import Path

from support import (BACKEND, Case, Manager, clean_environment, fresh_database, main, start_pair,
                     output_key, temp_dir, wait_until)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
ENDS = {"DONE", "FAILED", "CANCELLED"}


def plays(number):
    """Good rows of different songs, and one that is rejected."""
    rows = [f"Song {number},2024-01-{day:02},{number + day}" for day in range(1, 29)]
    return "\n".join(["Song,Date,Number of Plays", *rows, f"Song {number},no day,1", ""]).encode()


def script(name, *arguments, **settings):
    return subprocess.run([SCRIPTS / name, *arguments], env=clean_environment(settings),
                          capture_output=True, text=True, timeout=120)


def places(manager):
    return {name: manager.settings[name] for name in ("DATABASE_URL", "STORAGE_URL")}


class Load:
    """Uploads one file after the other until it is told to stop."""

    def __init__(self, owner, manager):
        self.manager, self.ids, self.failure = manager, [], None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        owner.addCleanup(self.stop)

    def run(self):
        try:
            while not self.is_over.is_set():
                self.ids.append(self.manager.upload(plays(len(self.ids)), on_bad_row="skip"))
        except Exception as failure:  # told by stop, in the test's own thread
            self.failure = failure

    def stop(self):
        self.is_over.set()
        self.thread.join()
        if self.failure:
            raise self.failure


class Backup(Case):
    def backup(self, manager, *arguments):
        folder = str(temp_dir(self) / "backup")
        done = script("backup.sh", *arguments, folder, **places(manager))
        self.assertEqual(done.returncode, 0, done.stderr)
        return folder

    def restored(self, folder):
        """A manager on a restored backup, in another place."""
        cwd = temp_dir(self)
        manager = Manager(self, cwd, DATABASE_URL=fresh_database(self, cwd), MAX_ATTEMPTS=20)
        done = script("restore.sh", folder, **places(manager))
        self.assertEqual(done.returncode, 0, done.stderr)
        return manager

    def artifacts(self, manager, task_id):
        answers = [manager.download(task_id), manager.download(task_id, "?artifact=rejects")]
        for answer in answers:
            self.assertEqual(answer.status, 200, answer)
        return [hashlib.sha256(answer.body).hexdigest() for answer in answers]

    def test_what_is_taken_under_load_is_whole_and_goes_on_working(self):
        first = start_pair(self, slots=2)
        load = Load(self, first)
        wait_until(lambda: len([t for t in first.tasks() if t["status"] == "DONE"]) >= 10,
                   "tasks that are done")
        known = {task["id"]: task["status"] for task in first.tasks()}
        folder = self.backup(first)
        count = len(load.ids)
        wait_until(lambda: len(load.ids) > count, "the load to go on after the backup")
        load.stop()

        second = self.restored(folder)
        second.queue = first.queue
        second.settings["QUEUES"] = first.queue
        second.settings["WORKERS"] = 2
        second.start()
        tasks = {task["id"]: task for task in second.tasks()}
        for task_id, status in known.items():
            self.assertIn(task_id, tasks)
            if status in ENDS:
                self.assertEqual(tasks[task_id]["status"], status)
        self.assertLessEqual(set(tasks), set(load.ids))
        for task_id in tasks:
            for manager in (first, second):
                manager.wait_status(task_id, "DONE")
            self.assertEqual(self.artifacts(first, task_id), self.artifacts(second, task_id))
        self.assertFalse(second.leftovers() & {task["file_input_path"] for task in tasks.values()})
        new = second.upload(plays(1), on_bad_row="skip")
        second.wait_status(new, "DONE")

    def test_outputs_of_attempts_that_the_database_does_not_know_are_left_out(self):
        first = start_pair(self)
        task_id = first.upload(plays(1), on_bad_row="skip")
        first.wait_status(task_id, "DONE")
        folder = self.backup(first)
        later = Path(folder, "files/processed_data", task_id, "2")
        later.mkdir(parents=True)
        (later / "totals.csv").write_text("made after the database was copied")
        Path(folder, "files", output_key(task_id, 2)).write_text("made after the database was copied")
        unknown = Path(folder, "files/processed_data/01890a5d-ac96-774b-bcce-b302099a8057/1")
        unknown.mkdir(parents=True)
        (unknown / "totals.csv").write_text("of a task that came after it")
        unknown = Path(folder, "files", output_key("01890a5d-ac96-774b-bcce-b302099a8057"))
        unknown.parent.mkdir(exist_ok=True)
        unknown.write_text("of a task that came after it")
        foreign = Path(folder, "files/processed_data/somebody.txt")
        foreign.write_text("is none of our business")
        second = self.restored(folder)
        self.assertEqual(second.stored(), first.stored() | {"processed_data/somebody.txt"})

    def test_a_later_backup_shares_the_files_of_an_older_one(self):
        manager = start_pair(self)
        manager.wait_status(manager.upload(plays(1), on_bad_row="skip"), "DONE")
        older = self.backup(manager)
        manager.wait_status(manager.upload(plays(2), on_bad_row="skip"), "DONE")
        newer = str(Path(older).parent / "newer")
        done = script("backup.sh", "--since", older, newer, **places(manager))
        self.assertEqual(done.returncode, 0, done.stderr)
        files = [path for path in Path(older, "files").rglob("*") if path.is_file()]
        self.assertEqual(len(files), 3)  # an input, its totals and its rejects
        for path in files:
            self.assertTrue(path.samefile(Path(newer, "files", path.relative_to(Path(older, "files")))))
        self.assertEqual(len(self.restored(newer).start().tasks()), 2)

    def test_a_file_that_is_missing_or_other_than_its_row_says_is_told(self):
        manager = start_pair(self)
        task_id = manager.upload(plays(1), on_bad_row="skip")
        manager.wait_status(task_id, "DONE")
        totals = manager.storage / output_key(task_id)
        text = totals.read_bytes()
        totals.write_bytes(text.replace(b"Song", b"Sonk"))
        folder = str(temp_dir(self) / "backup")
        for harm, word in ((None, "digest: "), (os.unlink, "missing: ")):
            if harm:
                harm(totals)
            done = script("backup.sh", folder, **places(manager))
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(word, done.stderr)
            self.assertIn(output_key(task_id), done.stderr)
            refused = script("restore.sh", folder, **places(Manager(self)))
            self.assertEqual(refused.returncode, 1)
            self.assertIn("no complete backup", refused.stderr)
        totals.write_bytes(text)
        done = script("backup.sh", folder, **places(manager))  # takes the unfinished one's place
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_nothing_that_is_there_is_written_over(self):
        manager = start_pair(self)
        manager.wait_status(manager.upload(plays(1), on_bad_row="skip"), "DONE")
        folder = self.backup(manager)
        again = script("backup.sh", folder, **places(manager))
        self.assertEqual(again.returncode, 1)
        self.assertIn("complete backup already", again.stderr)
        refused = script("restore.sh", folder, **places(manager))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("holds objects already", refused.stderr)
        empty = f"file:{temp_dir(self)}/store"
        refused = script("restore.sh", folder, **{**places(manager), "STORAGE_URL": empty})
        self.assertEqual(refused.returncode, 1)
        self.assertIn("already", refused.stderr)
        other = script("backup.sh", str(manager.storage), **places(manager))
        self.assertEqual(other.returncode, 1)
        self.assertTrue(manager.stored())


if __name__ == "__main__":
    main()
