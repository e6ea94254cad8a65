"""repo_download: real git over HTTP, hostile repositories, servers that misbehave, and a token
that must be nowhere."""

import base64
import contextlib
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from faults import small_disk
from support import (BACKEND, BIN, Case, HandWorker, Manager, Worker, clean_environment,
                     main, process_exists, sql, temp_dir, wait_until)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from git_server import GitServer  # pylint: disable=wrong-import-position

FILES = {b"README.md": b"# hello\r\n", b"src/main.c": b"int main;\n", b".hidden/.env": b"A=1\n",
         b"a b/\xc3\xa4.txt": b"umlaut", b"x.part": b"no part", b"empty": b"",
         b"binary": bytes(range(256)) * 300, b"run.sh": ("100755", b"#!/bin/sh\n"),
         b"latin\xe4": b"no utf-8", b".gitattributes": b"* text eol=lf export-ignore filter=x\n",
         b"newline\nin name": b"odd"}
TABLES = ("task", "attempt", "event", "outbox", "idempotency")
CONTENT = {name: value[1] if isinstance(value, tuple) else value for name, value in FILES.items()}


def read_tree(path):
    """{path below: content}, and nothing but plain files and folders may be there."""
    found = {}
    root = os.fsencode(path)
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            full = os.path.join(folder, name)
            assert not os.path.islink(full), full
        for name in names:
            full = os.path.join(folder, name)
            assert os.path.isfile(full), full
            with open(full, "rb") as file:
                found[os.path.relpath(full, root)] = file.read()
    return found


def trees(manager):
    """What there is of trees, also of unfinished ones."""
    folder = manager.storage / "outputs"
    return sorted(str(p.relative_to(folder)) for p in folder.glob("*/*")) if folder.exists() else []


class Repos(Case):
    limits = {}

    def setUp(self):
        self.server = GitServer(self, temp_dir(self))
        self.settings = {"REPO_HOSTS": f"http://127.0.0.1:{self.server.port},"
                                       f"http://localhost:{self.server.port}",
                         "ALLOW_NETWORKS": "127.0.0.1", **self.limits}
        self.manager = Manager(self, **self.settings).start()
        self.worker = Worker(self, self.manager, **self.settings).start()

    def submit(self, path, token=None, **members):
        params = {"repository": path if "://" in path else self.server.url(path)}
        if token is not None:
            params["token"] = token
        return self.manager.submit("repo_download", params=params, **members)

    def download(self, path, **members):
        task_id = self.submit(path, **members)
        self.manager.wait_status(task_id, "DONE")
        return self.manager.show(task_id)["result"]

    def fails(self, path, code, error_class="input", **members):
        members.setdefault("max_attempts", 1)
        task_id = self.submit(path, **members)
        self.manager.wait_status(task_id, "FAILED")
        error = self.manager.show(task_id)["error"]
        self.assertEqual((error["code"], error["class"]), (code, error_class), error)
        self.assertEqual(trees(self.manager), [])
        return error["message"]


class Good(Repos):
    def test_every_file_comes_as_it_is_and_nothing_else(self):
        repository = self.server.repository("Owner/My.Repo")
        commit = repository.fill({
            **FILES, b"passwd": ("120000", b"/etc/passwd"), b"sub": ("160000", "1" * 40)})
        result = self.download("/Owner/My.Repo.git")
        task_id = result["key"].split("/")[1]
        self.assertEqual(result["key"], f"outputs/{task_id}/1/owner-my.repo")
        self.assertEqual(result["path"], f"{self.manager.storage}/{result['key']}")
        self.assertEqual(read_tree(result["path"]), {**CONTENT, b"passwd": b"/etc/passwd"})
        expected = {"message": "Repository successfully cloned.", "kind": "folder",
                    "Url": self.server.url("/Owner/My.Repo.git"), "commit": commit,
                    "branch": "main", "files": len(FILES) + 1,
                    "bytes": sum(map(len, CONTENT.values())) + len("/etc/passwd"),
                    "symlinks": 1, "submodules": 1}
        self.assertEqual({name: result[name] for name in expected}, expected)
        about = Path(result["path"] + ".json")
        self.assertEqual(json.loads(about.read_text()), result)
        self.assertEqual(sorted(os.listdir(about.parent)), ["owner-my.repo", "owner-my.repo.json"])

    def test_only_the_last_commit_is_fetched_and_no_git_is_left(self):
        repository = self.server.repository("o/r")
        repository.fill({b"f": b"old"})
        repository.fill({b"f": b"new"})
        result = self.download("/o/r")
        self.assertEqual(read_tree(result["path"]), {b"f": b"new"})

    def test_names_that_differ_in_case_are_two_files(self):
        self.server.repository("o/r").fill({b"README": b"1", b"readme": b"2", b"Readme/x": b"3"})
        result = self.download("/o/r.git")
        self.assertEqual(read_tree(result["path"]),
                         {b"README": b"1", b"readme": b"2", b"Readme/x": b"3"})

    def test_a_name_leads_to_the_address_that_was_checked(self):
        self.server.repository("o/r").fill({b"f": b"1"})
        result = self.download(self.server.url("/o/r.git", host="localhost"))
        self.assertEqual(result["Url"], self.server.url("/o/r.git", host="localhost"))

    def test_progress_ends_at_the_whole_and_a_thousand_files_come(self):
        files = {b"d%d/f%d" % (i % 7, i): b"%d" % i for i in range(1000)}
        self.server.repository("o/r").fill(files)
        self.assertEqual(read_tree(self.download("/o/r.git")["path"]), files)

    def test_folders_in_folders_without_end(self):
        repository = self.server.repository("o/r")
        tree = repository.raw_tree(("100644", b"x", repository.blob(b"1")))
        for _ in range(300):
            tree = repository.raw_tree(("40000", b"d", tree))
        repository.commit(tree)
        self.assertIn("folders", self.fails("/o/r.git", "bad_name"))

    def test_a_tree_is_kept_by_the_sweep_as_long_as_its_task(self):
        self.server.repository("o/r").fill({b"x.part": b"1"})
        manager = Manager(self, SWEEP_AFTER="1s", RETENTION="6s", **self.settings).start()
        Worker(self, manager, **self.settings).start()
        task_id = manager.submit("repo_download",
                                 params={"repository": self.server.url("/o/r.git")})
        manager.wait_status(task_id, "DONE")
        result = manager.show(task_id)["result"]
        stray = manager.storage / "outputs" / task_id / "7" / ".work"
        stray.mkdir(parents=True)
        wait_until(lambda: not stray.exists(), "what no attempt owns to be swept")
        self.assertEqual(read_tree(result["path"]), {b"x.part": b"1"})
        wait_until(lambda: not trees(manager), "the tree to go with its task")
        self.assertEqual(manager.get(f"/v1/tasks/{task_id}").status, 404)


class Bad(Repos):
    limits = {"REPO_MAX_BYTES": "1M", "REPO_MAX_FILES": "50", "REPO_STALL": "90s"}

    def test_what_is_no_address_is_refused_at_once(self):
        for text, says in (
                ("git@github.com:o/r.git", "ssh is not supported"),
                ("file:///etc", "local files are not supported"),
                ("https://github.com/o", "two or more names"),
                ("https://me:hunter2@github.com/o/r", "must not contain a user name"),
                ("https://example.org/o/r", "'example.org' is not among the hosts of REPO_HOSTS"),
                ("http://github.com/o/r", "'http://github.com' is not among"),
                ("https://127.0.0.1/o/r", "'127.0.0.1' is not among"),
                (None, "params.repository: must be a string"), ("", "1 to 2047")):
            with self.subTest(text):
                answer = self.manager.post("/v1/tasks", {
                    "type": "repo_download", "params": {"repository": text} if text is not None
                    else {"repository": 1}})
                self.assertEqual(answer.status, 400, answer)
                self.assertIn(says, answer.json["detail"])
                self.assertNotIn(b"hunter2", answer.body)
        answer = self.manager.post("/v1/tasks", {"type": "repo_download"})
        self.assertEqual((answer.status, answer.json["detail"]),
                         (400, "params.repository: is missing"))

    def test_an_address_that_is_not_allowed_is_refused_wherever_it_comes_from(self):
        settings = {**self.settings, "ALLOW_NETWORKS": ""}
        manager = Manager(self, **settings).start()
        Worker(self, manager, **settings).start()
        answer = manager.post("/v1/tasks", {"type": "repo_download", "params": {
            "repository": self.server.url("/o/r.git")}})
        self.assertEqual(answer.status, 400)
        self.assertIn("a loopback address", answer.json["detail"])
        task_id = manager.submit("repo_download", params={
            "repository": self.server.url("/o/r.git", host="localhost")})
        manager.wait_status(task_id, "FAILED")
        error = manager.show(task_id)["error"]
        self.assertEqual((error["code"], error["class"]), ("address_refused", "input"))
        self.assertIn("a loopback address", error["message"])
        self.assertEqual(self.server.asked, [])

    def test_servers_that_have_no_repository(self):
        other = GitServer(self, temp_dir(self))
        self.server.answer_with("/web/", 200, b"<html>\n<p>\n</html>\n", Content_Type="text/html")
        self.server.answer_with("/forbidden/", 403, b"no")
        self.server.answer_with("/private/", 401, b"no", WWW_Authenticate='Basic realm="x"')
        self.server.answer_with("/moved/", 302, b"",
                                Location=other.url("/o/r.git/info/refs?service=git-upload-pack"))
        self.server.answer_with("/broken/", 500, b"oops")
        self.server.repository("o/empty")
        for path, code in (("/o/none.git", "no_repository"), ("/web/x.git", "no_repository"),
                           ("/forbidden/x.git", "forbidden"), ("/private/x.git", "credentials"),
                           ("/moved/x.git", "redirected"), ("/o/empty.git", "empty_repository")):
            with self.subTest(path):
                self.assertIn(path, self.fails(path, code))
        self.fails("/broken/x.git", "server_error", "transient")
        self.assertEqual(other.asked, [])
        self.assertTrue(self.server.asked_for("/moved/"))

    def test_a_certificate_that_nobody_signed_is_no_good(self):
        server = GitServer(self, temp_dir(self), tls=True)
        settings = {**self.settings, "REPO_HOSTS": f"localhost:{server.port}"}
        manager = Manager(self, **settings).start()
        Worker(self, manager, **settings).start()
        task_id = manager.submit("repo_download", max_attempts=1, params={
            "repository": server.url("/o/r.git", host="localhost"), "token": "t"})
        manager.wait_status(task_id, "FAILED")
        error = manager.show(task_id)["error"]
        self.assertEqual((error["code"], error["class"]), ("tls", "input"), error)
        self.assertEqual(server.asked, [])

    def test_a_server_that_is_not_there_is_worth_another_try(self):
        self.server.close()
        self.fails("/o/r.git", "unreachable", "transient")

    def test_a_cut_link_is_worth_another_try(self):
        self.server.repository("o/r").fill({b"f": secrets.token_bytes(300_000)})
        self.server.cut("/o/", 100_000)
        self.fails("/o/r.git", "broken_off", "transient")
        self.server.behaviours.clear()
        self.download("/o/r.git")

    def test_hostile_names_leave_nothing_anywhere(self):
        def blob(repository):
            return repository.blob(b"evil")

        def below(repository, name):
            inner = repository.raw_tree(("100644", b"x", blob(repository)))
            return repository.raw_tree(("40000", name, inner))

        makers = {
            "up": lambda r: below(r, b".."),
            "dot": lambda r: below(r, b"."),
            "slash": lambda r: r.raw_tree(("100644", b"../../evil", blob(r))),
            "absolute": lambda r: r.raw_tree(("100644", b"/tmp/evil", blob(r))),
            "git": lambda r: below(r, b".git"),
            "GIT": lambda r: below(r, b".GiT"),
            "twice": lambda r: r.raw_tree(("100644", b"x", blob(r)), ("100644", b"x", blob(r))),
            "long": lambda r: r.raw_tree(("100644", b"n" * 300, blob(r))),
        }
        before = set(os.listdir(self.manager.cwd))
        for name, make in makers.items():
            with self.subTest(name):
                repository = self.server.repository(f"o/{name}")
                repository.commit(make(repository))
                self.fails(f"/o/{name}.git", "bad_name")
        self.assertEqual({n for n in os.listdir(self.manager.cwd) if "evil" in n}, set())
        self.assertEqual(set(os.listdir(self.manager.cwd)), before)

    def test_a_link_is_not_followed_even_when_files_are_below_it(self):
        repository = self.server.repository("o/r")
        inner = repository.raw_tree(("100644", b"passwd", repository.blob(b"evil")))
        outside = temp_dir(self)
        repository.commit(repository.raw_tree(
            ("120000", b"a", repository.blob(os.fsencode(outside))), ("40000", b"a", inner)))
        self.fails("/o/r.git", "bad_name")
        self.assertEqual(os.listdir(outside), [])

    def test_too_much_of_everything(self):
        many = self.server.repository("o/many")
        many.fill({b"f%d" % i: b"" for i in range(60)})
        bomb = self.server.repository("o/bomb")  # 10^12 files in a dozen objects
        tree = bomb.raw_tree(*(("100644", b"%d" % i, bomb.blob(b"1")) for i in range(10)))
        for _ in range(12):
            tree = bomb.raw_tree(*(("40000", b"%d" % i, tree) for i in range(10)))
        bomb.commit(tree)
        hollow = self.server.repository("o/hollow")  # the same without a single file
        tree = hollow.raw_tree()
        for _ in range(12):
            tree = hollow.raw_tree(*(("40000", b"%d" % i, tree) for i in range(10)))
        hollow.commit(tree)
        self.server.repository("o/zeros").fill({b"f": bytes(64 << 20)})
        self.server.repository("o/noise").fill({b"f": secrets.token_bytes(3 << 20)})
        self.server.repository("o/sum").fill(
            {b"f%d" % i: b"%d" % i + bytes(300_000) for i in range(4)})
        for name, code in (("many", "too_many_files"), ("bomb", "too_many_files"),
                           ("hollow", "too_many_files"), ("zeros", "too_big"),
                           ("noise", "too_big"), ("sum", "too_big")):
            with self.subTest(name):
                began = time.monotonic()
                self.fails(f"/o/{name}.git", code)
                self.assertLess(time.monotonic() - began, 90)


class Silent(Repos):
    limits = {"REPO_STALL": "1s"}

    def git_processes(self):
        """Those whose work lies in this test's store."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.manager.storage).encode() in (folder / "environ").read_bytes() and \
                        b"git" in (folder / "comm").read_bytes():
                    found.append(folder.name)
        return [pid for pid in found if process_exists(int(pid))]

    def test_silence_and_slowness_end_in_time(self):
        self.server.repository("o/r").fill({b"f": secrets.token_bytes(300_000)})
        for name, behave in (("at once", lambda: self.server.stall("/o/")),
                             ("half way", lambda: self.server.stall("/o/", after=100_000))):
            with self.subTest(name):
                behave()
                began = time.monotonic()
                self.fails("/o/r.git", "stalled", "transient")
                self.assertLess(time.monotonic() - began, 60)
                self.assertEqual(self.git_processes(), [])

    def test_a_download_has_its_time(self):
        settings = {**self.settings, "REPO_STALL": "600s", "REPO_TIMEOUT": "1s"}
        worker = Worker(self, self.manager, "w2", **settings)
        self.worker.stop()
        worker.start()
        self.server.stall("/o/")
        self.fails("/o/r.git", "timeout", "transient")


class Packed(Case):
    """Where the object store is no folder."""

    def setUp(self):
        self.server, self.store = GitServer(self, temp_dir(self)), temp_dir(self)
        self.key = "processed_data/01890a5d-ac96-774b-bcce-b302099a8057/1/o-r.tar"

    def start(self):
        return subprocess.Popen([BIN.parent / "tests/repo_tar", self.store,
                                 self.server.url("/o/r.git")], stdout=subprocess.PIPE, text=True,
                                env=clean_environment({
                                    "REPO_HOSTS": f"http://127.0.0.1:{self.server.port}",
                                    "ALLOW_NETWORKS": "127.0.0.1"}))

    def left(self):
        return sorted(name for name in os.listdir(self.store / ".tmp"))

    def test_the_archive_holds_every_file_as_it_is(self):
        long = b"/".join([b"folder %d" % i for i in range(30)])
        files = {**FILES, b"n" * 100: b"1", b"n" * 101: b"2", long: b"3"}
        repository = self.server.repository("o/r")
        commit = repository.fill({**files, b"passwd": ("120000", b"/etc/passwd")})
        process = self.start()
        result, key = process.communicate()[0].splitlines()
        self.assertEqual((process.returncode, key), (0, self.key))
        result = json.loads(result)
        self.assertEqual((result["kind"], result["path"], result["key"], result["commit"]),
                         ("tar", self.key, self.key, commit))
        with tarfile.open(self.store / self.key, errors="surrogateescape") as archive:
            self.assertTrue(all(entry.isfile() for entry in archive))
            found = {os.fsencode(entry.name): archive.extractfile(entry).read()
                     for entry in archive}
        content = {name: v[1] if isinstance(v, tuple) else v for name, v in files.items()}
        self.assertEqual(found, {**content, b"passwd": b"/etc/passwd"})
        self.assertEqual(self.left(), [])

    def test_a_failure_leaves_nothing_and_the_dead_are_swept(self):
        process = self.start()
        self.assertEqual(process.communicate()[0].splitlines()[0], "no_repository")
        self.server.repository("o/r").fill({b"f": secrets.token_bytes(300_000)})
        self.server.stall("/o/", after=100_000)
        process = self.start()
        wait_until(lambda: list(self.store.glob(".tmp/repo-*/git/objects/pack/tmp_pack*")),
                   "half a pack")
        process.kill()
        process.communicate()
        self.assertEqual(len(self.left()), 2)
        (self.store / (self.key + ".part")).unlink()  # the object store's own sweep does that
        self.server.behaviours.clear()
        process = self.start()
        process.communicate()
        self.assertEqual((process.returncode, self.left()), (0, []))


class NoGit(Repos):
    limits = {"PATH": "/nonexistent"}

    def test_a_worker_without_git_says_so_and_another_may_have_it(self):
        self.assertIn("'git'", self.fails("/o/r.git", "no_git", "transient"))


class FullDisk(Repos):
    def setUp(self):
        self.disk = small_disk(self, "8M")
        self.limits = {"STORAGE_URL": f"file:{self.disk}"}
        super().setUp()

    def test_a_full_disk_may_have_room_later_and_nothing_is_left(self):
        self.server.repository("o/pack").fill({b"f": secrets.token_bytes(12 << 20)})
        self.server.repository("o/files").fill({b"f": bytes(12 << 20)})
        for name in ("pack", "files"):
            with self.subTest(name):
                self.fails(f"/o/{name}.git", "no_space", "transient")
        self.server.repository("o/r").fill({b"f": b"1"})
        self.download("/o/r.git")


class Interrupted(Repos):
    limits = {"REPO_STALL": "600s", "LEASE": "3s"}

    def stalled(self, **members):
        """A download that hangs half way, with its workspace."""
        self.server.repository("o/r").fill({b"f": secrets.token_bytes(300_000)})
        self.server.stall("/o/", after=100_000)
        task_id = self.submit("/o/r.git", **members)
        work = self.manager.storage / "outputs" / task_id / "1" / ".work"
        wait_until(lambda: list(work.glob("git/objects/pack/tmp_pack*")), "half a pack")
        return task_id, work

    def processes_of(self, work):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(work).encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def test_nothing_is_left_of_a_worker_that_was_killed(self):
        task_id, work = self.stalled()
        pids = self.processes_of(work)
        self.assertTrue(pids)
        self.worker.kill()
        wait_until(lambda: not any(map(process_exists, pids)), "git to end with its worker")
        self.server.behaviours.clear()
        Worker(self, self.manager, "w2", **self.settings).start()
        self.manager.wait_status(task_id, "DONE")
        self.assertEqual(trees(self.manager), [f"{task_id}/2"])

    def test_the_sweep_takes_what_nobody_tries_again(self):
        self.manager.stop()
        self.manager.settings["SWEEP_AFTER"] = "1s"
        self.manager.start()
        task_id, work = self.stalled(max_attempts=1)
        self.worker.kill()
        self.manager.wait_status(task_id, "FAILED")
        wait_until(lambda: not work.exists(), "the workspace to be swept")
        wait_until(lambda: not trees(self.manager), "the task's folder to go, too")

    def test_a_cancel_leaves_nothing(self):
        task_id, work = self.stalled()
        pids = self.processes_of(work)
        self.assertEqual(self.manager.call("DELETE", f"/v1/tasks/{task_id}").status, 200)
        wait_until(lambda: not any(map(process_exists, pids)), "git to end")
        wait_until(lambda: not trees(self.manager), "the workspace to go")

    def test_a_job_that_dies_leaves_the_place_to_the_next_attempt(self):
        task_id, work = self.stalled()
        self.server.behaviours.clear()
        git = self.processes_of(work)
        parents = {int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
                   for pid in git} - set(git)
        for pid in parents:
            os.kill(pid, signal.SIGKILL)
        self.manager.wait_status(task_id, "DONE")
        self.assertEqual(len(trees(self.manager)), 1)
        wait_until(lambda: not any(map(process_exists, git)), "git to end")


class Secret(Repos):
    limits = {"REPO_STALL": "600s", "SECRET_KEY": None}

    def forms(self, token):
        both = base64.b64encode(b"x-access-token:" + token.encode())
        return [token.encode(), both, both[8:-8]]

    def assert_nowhere(self, token, *texts):
        for form in self.forms(token):
            for text in texts:
                self.assertNotIn(form, text)
            for folder in (self.manager.storage, self.manager.cwd):
                found = subprocess.run(["grep", "-rlaF", "--", form.decode(), folder],
                                       capture_output=True, check=False).stdout
                self.assertEqual(found, b"")
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (folder / "cmdline").read_bytes()
                self.assertFalse(any(form in line for form in self.forms(token)), line)

    def database(self):
        """Every row of every table, as text."""
        url = self.manager.settings["DATABASE_URL"]
        tables = TABLES
        if BACKEND == "mysql":
            return b"".join(sql(url, f"SELECT * FROM {name}") for name in tables)
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"))) as db:
            return "".join(repr(row) for name in tables
                           for row in db.execute(f"SELECT * FROM {name}")).encode()

    def test_the_token_reaches_the_server_and_nothing_else(self):
        token = "ghp_" + secrets.token_hex(20)
        self.server.repository("o/r").fill({b"f": secrets.token_bytes(300_000)})
        self.server.require_token("/o/", token)
        gate = self.server.behaviours["/o/"]
        self.server.stall("/o/r.git/git-upload-pack", after=100_000)
        task_id = self.submit("/o/r.git", token=token)
        work = self.manager.storage / "outputs" / task_id / "1" / ".work"
        wait_until(lambda: list(work.glob("git/objects/pack/tmp_pack*")), "half a pack")
        shown = self.manager.get(f"/v1/tasks/{task_id}")
        self.assertEqual(shown.json["params"]["token"], "***")
        self.assert_nowhere(token, shown.body, self.manager.get("/v1/tasks").body,
                            self.manager.get("/metrics").body, self.database())
        self.server.behaviours = {"/o/": gate}
        self.server.release.set()
        self.manager.wait_status(task_id, "DONE")
        shown = self.manager.get(f"/v1/tasks/{task_id}")
        self.assertEqual(shown.json["result"]["Url"], self.server.url("/o/r.git"))
        self.assert_nowhere(token, shown.body, self.database())

    def test_a_server_that_repeats_the_token_is_not_repeated(self):
        token = "ghp_" + secrets.token_hex(20)

        def repeat(handler):
            handler.body()
            said = handler.headers.get("Authorization", "").encode() + b" " + token.encode()
            handler.send(403, b"you said " + said + b"\n", Content_Type="text/plain")
        self.server.behaviours["/o/"] = repeat
        task_id = self.submit("/o/r.git", token=token, max_attempts=1)
        self.manager.wait_status(task_id, "FAILED")
        self.assert_nowhere(token, self.manager.get(f"/v1/tasks/{task_id}").body,
                            self.database())

    def test_a_wrong_token_is_an_answer_not_a_question(self):
        self.server.repository("o/r").fill({b"f": b"1"})
        self.server.require_token("/o/", "right")
        message = self.fails("/o/r.git", "credentials", token="wrong")
        self.assertNotIn("wrong", message)

    def test_a_token_survives_a_restart_but_not_the_loss_of_its_key(self):
        token = "ghp_" + secrets.token_hex(20)
        self.server.repository("o/r").fill({b"f": b"1"})
        self.server.require_token("/o/", token)
        self.worker.stop()
        tasks = [self.submit("/o/r.git", token=token) for _ in range(2)]
        self.manager.stop()
        self.manager.start()
        hand = HandWorker(self.manager).claim_one(task_id=tasks[0])
        self.assertEqual(hand["params"]["token"], token)
        self.manager.stop()
        self.manager.settings["SECRET_KEY"] = "k" * 16
        self.manager.start()
        Worker(self, self.manager, "w2", **self.settings).start()
        self.manager.wait_status(tasks[1], "FAILED")
        error = self.manager.show(tasks[1])["error"]
        self.assertEqual(error["class"], "input")
        self.assertIn("another SECRET_KEY", error["message"])
        later = self.submit("/o/r.git", token=token)
        self.manager.wait_status(later, "DONE")

    def test_the_same_submit_twice_is_one_task(self):
        params = {"repository": self.server.url("/o/r.git"), "token": "abc"}
        headers = {"Idempotency-Key": "k1"}
        first = self.manager.submit("repo_download", headers, params=params)
        self.assertEqual(self.manager.submit("repo_download", headers, params=params), first)
        answer = self.manager.call("POST", "/v1/tasks", headers=headers, data={
            "type": "repo_download", "queue": self.manager.queue,
            "params": {**params, "token": "abd"}})
        self.assertEqual(answer.status, 422)

    def test_a_key_in_a_file_is_for_its_owner_only(self):
        self.submit("/o/r.git", token="abc")
        path = self.manager.storage / ".secret-key"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)


if __name__ == "__main__":
    main()
