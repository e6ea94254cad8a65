"""The calls of the repository services, by a client that knows nothing of Segue: against real git
over HTTP, containers in folders and on Azure (Azurite)."""

import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import blobs
from support import (BACKEND, BIN, PATIENCE, REPO, Case, Manager, Worker, call, clean_environment, main,
                     temp_dir, wait_until)

sys.path.insert(0, str(REPO / "tests/support"))
sys.path.insert(0, str(REPO / "tests/readers/parquet"))
import readers  # noqa: E402  pylint: disable=wrong-import-position
from git_server import PASS, GitServer  # noqa: E402  pylint: disable=wrong-import-position

CLIENT = REPO / "examples/repository_client.py"
DOWNLOAD, UPLOAD = "/v1/download_repository", "/v2/repo/upload"
TRANSFORM = "/v3/transform-container-to-parquet"
BAD_LINK = {"message": "Link to repository invalid or not found"}
NO_CLONE = {"message": "cloning error"}
NO_CONNECTION = "Failed to connect to Azure Blob Storage."
FILES = {b"README.md": b"# hello\n", b"src/main.c": b"int main;\n", b"src/x.PY": b"pass\n",
         b"setup.py": b"", b"caf\xc3\xa9.txt": "\u00e4".encode(), b"\xff%41": b"odd name\n",
         b"binary": bytes(range(256))}
PATHS = ((DOWNLOAD, "POST"), (UPLOAD, "POST"), (TRANSFORM, "POST"), ("/v1/status", "GET"),
         ("/v2/repo/check_connection", "GET"), ("/v3/access-container", "POST"),
         ("/v3/get-container", "POST"), ("/v3/get-specific-blob", "POST"),
         ("/v3/get-files-by-type", "POST"), ("/v3/transform-to-parquet", "POST"))


def cell(value):
    """As tests/readers/parquet/expect.h says."""
    text = value.hex() if len(value) <= 32 else hashlib.sha256(value).hexdigest()
    return f"{len(value)}:{text}"


def rows_of(files, commit):
    def text(name):
        return name if name != b"\xff%41" else b"%FF%2541"
    return sorted("\t".join((cell(text(name)), cell(content), str(len(content)),
                             cell(hashlib.sha256(content).hexdigest().encode()), cell(commit.encode())))
                  for name, content in files.items())


class Gate:
    """Holds what asks for a path until it is opened."""

    def __init__(self, server, prefix):
        self.event, self.came = threading.Event(), threading.Event()
        server.behaviours[prefix] = self.behave
        self.open = self.event.set

    def behave(self, _):
        self.came.set()
        self.event.wait(4 * PATIENCE)
        return PASS


class Services(Case):
    """A task manager at three addresses, as the three services were, and a worker."""
    extra = {}

    def setUp(self):
        self.git = GitServer(self, temp_dir(self))
        self.settings = {"REPO_HOSTS": f"http://127.0.0.1:{self.git.port}",
                         "ALLOW_NETWORKS": "127.0.0.1", "QUEUES": "repository",
                         "LISTEN": ",".join(["127.0.0.1:0"] * 3), "HANDLER_THREADS": 2, **self.extra}
        self.manager = Manager(self, **self.settings).start()
        log = self.manager.wait_log("manager.ready", 3)
        self.addresses = [(host, int(port)) for host, port in
                          re.findall(r"manager\.ready address=([\d.]+):(\d+)", log)]
        self.kept = blobs.Local(self.manager.storage)
        self.name = f"r{secrets.token_hex(4)}"
        self.box = f"owner-{self.name}"

    def start_worker(self, slots=2):
        settings = {name: value for name, value in self.settings.items()
                    if name not in ("LISTEN", "HANDLER_THREADS")}
        return Worker(self, self.manager, SLOTS=slots, **settings).start()

    def fill(self, files=None, name=None):
        name = name or self.name
        commit = self.git.repository(f"Owner/{name}").fill(FILES if files is None else files)
        return self.git.url(f"/Owner/{name}.git"), commit

    # calls

    def post(self, path, data=None, status=200, service=0, headers=None, **body):
        answer = call(self.addresses[service], "POST", path, data=data, headers=headers, **body)
        self.assertEqual(answer.status, status, answer)
        return answer

    def download(self, url, **members):
        return self.post(DOWNLOAD, {"repository": url, **members}).json

    def upload(self, path, **options):
        return self.post(f"{UPLOAD}?{urlencode(repo_path=path)}", service=1, **options).json

    def filled_container(self, files=None):
        """Through the first two calls -> the container's name."""
        url, self.commit = self.fill(files)
        answer = self.upload(self.download(url)["path"])
        self.assertEqual(answer["status"], "success", answer)
        self.addCleanup(self.kept.delete, answer["container_name"])
        return answer["container_name"]

    def client(self, url, *arguments):
        command = [sys.executable, "-B", CLIENT, url, *arguments]
        for name, address in zip(("download", "upload", "transform"), self.addresses):
            command += [f"--{name}", "http://%s:%d" % address]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=clean_environment({}))

    def finished(self, process, code=0):
        out, err = process.communicate(timeout=4 * PATIENCE)
        self.assertEqual(process.returncode, code, out + err)
        return out if code == 0 else err

    def read_parquet(self, *files):
        """Rows as lines, by a reader that is not ours; None when there is none here."""
        try:
            readers.fetch()
        except readers.Failed:
            if os.environ.get("SEGUE_TEST_REQUIRE_ALL"):
                raise
            for file in files:
                self.assertEqual((file[:4], file[-4:]), (b"PAR1", b"PAR1"))
            return None
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{i}.parquet" for i in range(len(files))]
            for path, content in zip(paths, files):
                path.write_bytes(content)
            readers.read("hyparquet", paths, Path(folder) / "found")
            return sorted((Path(folder) / "found").read_text().splitlines())

    def assert_rows(self, files, *parquet, commit=None):
        found = self.read_parquet(*parquet)
        if found is not None:
            self.assertEqual(found, rows_of(files, commit or self.commit))


def urlencode(**query):
    return blobs.urllib.parse.urlencode(query)


class Walk(Services):
    """All three steps, wherever containers are; Azure's class is below."""

    def setUp(self):
        super().setUp()
        self.start_worker()

    def test_the_client_walks_through_the_three_services(self):
        url, commit = self.fill()
        self.addCleanup(self.kept.delete, self.box)
        lines = self.finished(self.client(url)).splitlines()
        path = lines[0].removeprefix("Repository downloaded to ")
        self.assertEqual(Path(path).name, self.box)
        self.assertTrue(Path(path).is_relative_to(self.manager.storage / "outputs"))
        self.assertEqual(json.loads(lines[1]), {
            "status": "success", "message": "Container created and files uploaded.",
            "container_name": self.box})
        self.assertEqual(lines[2], f"Repository uploaded to container {self.box}")
        parquet = lines[4].removeprefix("Parquet: ")
        self.assertEqual(lines[3], f"Container {self.box} converted to Parquet and saved to {parquet}")
        self.assertEqual(Path(parquet).name, f"{self.box}_part_0.parquet")
        self.assertEqual(self.kept.read(self.box), FILES)
        self.assert_rows(FILES, Path(parquet).read_bytes(), commit=commit)
        self.assertEqual(sorted(task["task_type"] for task in self.manager.tasks()),
                         ["blob_upload", "parquet_export", "repo_download"])
        self.assertEqual({task["queue"] for task in self.manager.tasks()}, {"repository"})

    def test_one_blob_comes_as_a_parquet_file(self):
        box = self.filled_container()
        for blob, file in (("src/main.c", "src_main.c.parquet"), ("%FF%2541", None)):
            answer = self.post("/v3/transform-to-parquet/", {"container_name": box, "blob_name": blob})
            self.assertEqual(answer.headers["Content-Type"], "application/octet-stream")
            if file:
                self.assertEqual(answer.headers["Content-Disposition"], f"attachment; filename={file}")
            name = b"\xff%41" if file is None else blob.encode()
            self.assert_rows({name: FILES[name]}, answer.body)

    def test_containers_can_be_looked_into(self):
        box = self.filled_container()
        ask = {"container_name": box}
        answer = self.post("/v3/access-container/", ask).json
        self.assertEqual(answer, {"status": True, "details": f"Container {box} can be accessed"})
        answer = self.post("/v3/get-container", ask).json
        self.assertEqual(sorted(answer["content"]),
                         sorted(["README.md", "src/main.c", "src/x.PY", "setup.py", "caf\u00e9.txt",
                                 "%FF%2541", "binary"]))
        self.assertEqual((answer["status"], answer["details"]), (True, f"Container {box} has 7 files"))
        for extension in ("py", ".py"):
            answer = self.post("/v3/get-files-by-type/", {**ask, "file_extension": extension}).json
            self.assertEqual(sorted(answer["content"]), ["setup.py", "src/x.PY"])
        answer = self.post("/v3/get-specific-blob/", {**ask, "blob_name": "%FF%2541"}).json
        self.assertEqual(set(answer), {"status", "details"})
        self.assertTrue(answer["status"])
        self.assertIn("has 9 bytes", answer["details"])

    def test_what_is_not_there_is_said_within_a_200(self):
        box = self.filled_container({b"a": b"1"})
        for name in ("nothing-here", "No Name", "", "../..", "a\u00e4" * 40):
            for path, more in (("access-container", {}), ("get-container", {}),
                               ("get-specific-blob", {"blob_name": "a"}),
                               ("get-files-by-type", {"file_extension": "c"})):
                answer = self.post(f"/v3/{path}", {"container_name": name, **more}).json
                self.assertIs(answer["status"], False, answer)
                self.assertTrue(answer["details"])
                self.assertEqual(answer.get("content", []), [])
            for path, more in ((TRANSFORM, {}), ("/v3/transform-to-parquet", {"blob_name": "a"})):
                answer = self.post(path, {"container_name": name, **more}).json
                self.assertIs(answer["status"], False, answer)
                self.assertTrue(answer["message"])
                self.assertIsNone(answer.get("parquet_path"))
        for blob in ("b", "", "..", "a/b", "%61", "x" * 5000):
            data = {"container_name": box, "blob_name": blob}
            answer = self.post("/v3/get-specific-blob", data).json
            self.assertIs(answer["status"], False, answer)
            answer = self.post("/v3/transform-to-parquet", data)
            self.assertEqual(answer.headers["Content-Type"], "application/json", blob)
            self.assertIs(answer.json["status"], False, answer)


class Local(Walk):
    def test_each_blob_as_a_file_has_no_single_path(self):
        box = self.filled_container()
        answer = self.post(TRANSFORM, {"container_name": box}).json
        self.assertEqual(set(answer), {"status", "message", "parquet_path"})
        self.assertEqual((answer["status"], answer["parquet_path"]), (True, None))
        prefix = f"Container {box} converted to Parquet and saved to "
        self.assertEqual(answer["message"][:len(prefix)], prefix)
        folder = Path(answer["message"].removeprefix(prefix))
        self.assert_rows(FILES, *[file.read_bytes() for file in folder.glob("*.parquet")])

    def test_a_trailing_slash_changes_nothing(self):
        box = self.filled_container()
        for slash in ("", "/"):
            answer = self.post(TRANSFORM + slash, {"container_name": box, "single_parquet": True}).json
            self.assertIs(answer["status"], True)
            self.assertEqual(Path(answer["parquet_path"]).read_bytes()[:4], b"PAR1")
            self.assertEqual(self.manager.get("/v1/status" + slash).json, {"message": "Ok"})
            self.assertEqual(self.manager.get("/v2/repo/check_connection" + slash).json, {
                "status": "success",
                "message": "Connection to Azure Blob Storage is successful."})

    def test_every_address_answers_every_call(self):
        url, _ = self.fill()
        for service in range(3):
            answer = self.post(DOWNLOAD, {"repository": url}, service=service).json
            self.assertEqual(set(answer), {"message", "path", "Url"})
            answer = self.upload(answer["path"])
            self.assertEqual(answer["status"], "success")
        self.assertEqual(answer["message"], "Container already existed. Files overwritten.")

    def test_the_answer_to_a_download_and_its_token(self):
        url, _ = self.fill()
        token = secrets.token_hex(8)
        self.git.require_token(f"/Owner/{self.name}.git", token)
        answer = self.post(DOWNLOAD, {"repository": url, "token": token})
        self.assertEqual((answer.json["message"], answer.json["Url"]),
                         ("Repository successfully cloned.", url))
        task = self.manager.show(answer.headers["Task-Id"])
        self.assertEqual((task["status"], task["params"]["token"]),
                         ("DONE", "***"))
        self.assertTrue(answer.headers["Location"].endswith(f"/v1/tasks/{answer.headers['Task-Id']}"))
        self.assertEqual(self.download(url, token="wrong"), NO_CLONE)
        self.assertEqual(self.download(url, token=None), NO_CLONE)
        self.assertEqual(self.download(url, token="x" * 2000), NO_CLONE)

    def test_links_that_are_none(self):
        url, _ = self.fill()
        for link in (url.removesuffix(".git"), url + "/", "", "x", "git@github.com:o/r.git",
                     "file:///etc/o/r.git", "https://example.com/o/r.git", "https://github.com/r.git",
                     "https://token@github.com/o/r.git", "http://127.0.0.1:1/o/r.git",
                     "https://github.com/o/r.git?x=.git", "https://github.com/o/../r.git",
                     f"http://127.0.0.1:{self.git.port}/{'x' * 3000}.git", ".git"):
            self.assertEqual(self.download(link), BAD_LINK, link)
        self.assertEqual(self.manager.tasks(), [])
        self.assertEqual(self.finished(self.client("https://example.com/o/r.git"), 1).strip(),
                         BAD_LINK["message"])

    def test_repositories_that_cannot_be_cloned(self):
        self.assertEqual(self.download(self.git.url("/no/such.git")), NO_CLONE)
        self.git.repository("o/empty")
        self.assertEqual(self.download(self.git.url("/o/empty.git")), NO_CLONE)
        self.git.answer_with("/o/broken.git", 503)
        self.assertEqual(self.download(self.git.url("/o/broken.git")), NO_CLONE)
        self.assertEqual(self.finished(self.client(self.git.url("/no/such.git")), 1).strip(),
                         NO_CLONE["message"])

    def test_only_downloads_can_be_uploaded(self):
        url, _ = self.fill()
        path = self.download(url)["path"]
        outside = self.manager.storage / "raw_data/owner-x"
        outside.mkdir()
        key = os.path.relpath(path, self.manager.storage)
        for wrong in ("/etc", "/", "", "outputs", str(self.manager.storage), str(outside), "/etc/passwd",
                      f"{path}/..", f"{path}/../../..", f"{path}/src", path + "x", f"/tmp/{key}",
                      key.replace("/1/", "/2/"), f"outputs/../{key}", "x" * 1500):
            answer = self.upload(wrong)
            self.assertEqual((answer["status"], answer["message"]), ("error", NO_CONNECTION), wrong)
            self.assertEqual(set(answer), {"status", "message", "error"})
            self.assertIn("there is no downloaded repository", answer["error"])
        self.assertEqual([t["task_type"] for t in self.manager.tasks()], ["repo_download"])
        for right in (path, path + "/", key):
            self.assertEqual(self.upload(right)["status"], "success", right)

    def test_two_clients_at_once(self):
        first, one = self.fill()
        second, two = self.fill({b"other": b"2"}, f"{self.name}-b")
        clients = [self.client(url) for url in (first, second, first, second)]
        for process, (files, commit) in zip(clients, ((FILES, one), ({b"other": b"2"}, two)) * 2):
            parquet = self.finished(process).splitlines()[-1].removeprefix("Parquet: ")
            found = self.read_parquet(Path(parquet).read_bytes())
            if found is not None:  # while the other's upload is under way there is no one commit
                whole = [re.sub(r"\t-$", f"\t{cell(commit.encode())}", row) for row in found]
                self.assertEqual(sorted(whole), rows_of(files, commit))


class Bodies(Services):
    """What is refused before any work; nobody is there to do any."""

    def refused(self, path, mistakes, **options):
        answer = self.post(path, status=422, **options)
        self.assertEqual(set(answer.json), {"detail"})
        for one in answer.json["detail"]:
            self.assertEqual(set(one), {"loc", "msg", "type"})
        self.assertEqual([(one["loc"], one["type"]) for one in answer.json["detail"]], mistakes)
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")
        return answer.json["detail"]

    def test_members_that_are_missing_or_wrong(self):
        missing = self.refused(DOWNLOAD, [(["body", "repository"], "missing")], data={})
        self.assertEqual(missing[0]["msg"], "Field required")
        self.refused(DOWNLOAD, [(["body", "repository"], "string_type"), (["body", "token"], "string_type")],
                     data={"repository": 1, "token": ["x"]})
        self.refused(DOWNLOAD, [(["body", "repository"], "string_type")], data={"repository": None})
        self.refused(UPLOAD, [(["query", "repo_path"], "missing")])
        self.refused(f"{UPLOAD}/?path=x", [(["query", "repo_path"], "missing")])
        self.refused(TRANSFORM, [(["body", "container_name"], "missing"),
                                 (["body", "single_parquet"], "bool_parsing")],
                     data={"single_parquet": "perhaps"})
        self.refused("/v3/access-container", [(["body", "container_name"], "missing")], data={"x": 1})
        self.refused("/v3/get-container/", [(["body", "container_name"], "missing")], data={})
        for path, second in (("get-specific-blob", "blob_name"), ("transform-to-parquet", "blob_name"),
                             ("get-files-by-type", "file_extension")):
            self.refused(f"/v3/{path}/", [(["body", "container_name"], "missing"),
                                          (["body", second], "missing")], data={})
        self.assertEqual(self.manager.tasks(), [])

    def test_bodies_that_are_no_objects(self):
        for path in (DOWNLOAD, TRANSFORM, "/v3/get-container"):
            self.refused(path, [(["body"], "missing")])
            self.refused(path, [(["body"], "missing")], body=b"null")
            for data in ([], "x", 1):
                self.refused(path, [(["body"], "model_attributes_type")], data=data)
            for text in (b"{", b"{\"repository\": \"\xff\"}", b"\x00"):
                answer = self.post(path, status=422, body=text, headers={"Content-Type": "application/json"})
                self.assertEqual(answer.json["detail"][0]["type"], "json_invalid")
            self.refused(path, [(["body"], "model_attributes_type")],
                         body=b'{"container_name": "x", "repository": "y"}', headers={"Content-Type": "text/plain"})

    def test_pages_of_any_origin_may_call(self):
        for path, method in PATHS:
            answer = self.manager.call("OPTIONS", path, headers={
                "Origin": "http://a.example", "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "content-type, x-any"})
            self.assertEqual(answer.status, 200, path)
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")
            self.assertEqual(answer.headers["Access-Control-Allow-Credentials"], "true")
            self.assertEqual(answer.headers["Access-Control-Allow-Headers"], "content-type, x-any")
            self.assertIn(method, answer.headers["Access-Control-Allow-Methods"])
        answer = self.manager.get("/v1/status", Origin="http://a.example")
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")
        self.assertEqual(self.manager.call("OPTIONS", "/v1/tasks").status, 405)
        self.assertIsNone(self.manager.get("/v1/tasks", Origin="http://a.example").headers[
            "Access-Control-Allow-Origin"])

    def test_the_origin_is_a_setting(self):
        for origin in ("https://one.example", ""):
            manager = Manager(self, SERVICE_ORIGIN=origin).start()
            for answer in (manager.get("/v1/status"), manager.call("OPTIONS", "/v1/status"),
                           manager.call("POST", DOWNLOAD, data={})):
                self.assertEqual(answer.headers["Access-Control-Allow-Origin"], origin or None)

    def test_a_storage_account_that_is_away(self):
        manager = Manager(self, AZURE_STORAGE_CONNECTION_STRING="AccountName=a;AccountKey=a2V5;"
                          "BlobEndpoint=http://127.0.0.1:1/a").start()
        answer = manager.get("/v2/repo/check_connection")
        self.assertEqual((answer.status, answer.json["status"], answer.json["message"]),
                         (200, "error", NO_CONNECTION))
        self.assertNotIn("a2V5", answer.json["error"])
        self.assertEqual(set(answer.json), {"status", "message", "error"})

    def test_a_flag_may_be_given_several_times(self):
        folder = temp_dir(self)
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [BIN / "task_manager", *["--listen", "127.0.0.1:0"] * 3, "--workers", "0"], cwd=folder,
                env=clean_environment({}), stdout=log, stderr=log)
        self.addCleanup(process.kill)

        def ports():
            found = re.findall(r"manager\.ready address=127\.0\.0\.1:(\d+)", (folder / "log").read_text())
            return found if len(found) == 3 else None
        for port in wait_until(ports, "three addresses"):
            answer = call(("127.0.0.1", int(port)), "GET", "/v1/status")
            self.assertEqual((answer.status, answer.json), (200, {"message": "Ok"}))
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)


class Waits(Services):
    """Calls whose task takes long, or whose client or server goes."""

    def held(self, count=1):
        """Downloads that wait for the git server -> its gate, and the threads that wait."""
        url, _ = self.fill()
        gate = Gate(self.git, f"/Owner/{self.name}.git")
        self.addCleanup(gate.open)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(
            call(self.addresses[0], "POST", DOWNLOAD, data={"repository": url}))) for _ in range(count)]
        for thread in threads:
            thread.start()
            self.addCleanup(thread.join)
        self.addCleanup(gate.open)
        return gate, threads, answers

    def tasks(self, count, status=None):
        def there():
            tasks = [t for t in self.manager.tasks() if status in (None, t["status"])]
            return tasks if len(tasks) == count else None
        return wait_until(there, f"{count} tasks {status or ''}")

    def test_waiting_holds_no_thread(self):
        self.start_worker()
        gate, threads, answers = self.held(12)
        self.tasks(12)
        gate.came.wait(PATIENCE)
        self.assertEqual(self.manager.get("/v1/status").status, 200)
        self.assertEqual(answers, [])
        gate.open()
        for thread in threads:
            thread.join(4 * PATIENCE)
        self.assertEqual({answer.json["message"] for answer in answers}, {"Repository successfully cloned."})
        self.assertEqual(len({answer.json["path"] for answer in answers}), 12)

    def test_a_client_that_hangs_up_does_not_lose_the_task(self):
        self.start_worker()
        url, _ = self.fill()
        gate = Gate(self.git, f"/Owner/{self.name}.git")
        self.addCleanup(gate.open)
        body = json.dumps({"repository": url}).encode()
        with self.manager.connect() as sock:
            sock.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         b"Content-Length: %d\r\n\r\n%s" % (DOWNLOAD.encode(), len(body), body))
            task_id = self.tasks(1)[0]["id"]
        self.manager.wait_log(f"await.abandoned task_id={task_id}")
        gate.open()
        self.manager.wait_status(task_id, "DONE")
        path = self.manager.show(task_id)["result"]["path"]
        self.assertEqual(self.upload(path)["status"], "success")

    def test_a_call_that_takes_too_long_names_its_task(self):
        manager = Manager(self, **{**self.settings, "LISTEN": "127.0.0.1:0", "SERVICE_WAIT": "300ms"}).start()
        url, _ = self.fill()
        key = {"Idempotency-Key": "walk-1"}
        answer = manager.call("POST", DOWNLOAD, data={"repository": url}, headers=key)
        task_id = answer.headers["Task-Id"]
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        self.assertEqual((answer.status, answer.json["status"], answer.json["task_id"], answer.json["error"]),
                         (504, 504, task_id, "Task processing"))
        self.assertIn(f"/v1/tasks/{task_id}", answer.json["detail"])
        self.manager = manager
        self.start_worker()
        manager.wait_status(task_id, "DONE")
        again = manager.call("POST", DOWNLOAD, data={"repository": url}, headers=key)
        self.assertEqual((again.status, again.headers["Task-Id"]), (200, task_id))
        self.assertEqual(again.json["path"], manager.show(task_id)["result"]["path"])
        other = manager.call("POST", DOWNLOAD, data={"repository": url, "token": "x"}, headers=key)
        self.assert_problem(other, 422)

    def test_a_manager_that_stops_says_where_the_task_is(self):
        _, threads, answers = self.held()
        task_id = self.tasks(1)[0]["id"]
        self.manager.stop()
        threads[0].join(PATIENCE)
        self.assertEqual((answers[0].status, answers[0].json["task_id"]), (503, task_id))

    def test_a_cancelled_task_ends_the_call(self):
        _, threads, answers = self.held()
        self.manager.call("DELETE", f"/v1/tasks/{self.tasks(1)[0]['id']}")
        threads[0].join(PATIENCE)
        self.assertEqual((answers[0].status, answers[0].json), (200, NO_CLONE))

    @unittest.skipUnless(BACKEND == "mysql", "SQLite is for one manager")
    def test_a_task_that_ends_at_another_manager_ends_the_call(self):
        _, threads, answers = self.held()
        task_id = self.tasks(1)[0]["id"]
        other = Manager(self, DATABASE_URL=self.manager.settings["DATABASE_URL"],
                        STORAGE_URL=self.manager.settings["STORAGE_URL"]).start()
        other.call("DELETE", f"/v1/tasks/{task_id}")
        threads[0].join(PATIENCE)
        self.assertEqual((answers[0].status, answers[0].json), (200, NO_CLONE))

    def test_a_full_backlog_is_no_answer_of_the_services(self):
        manager = Manager(self, **{**self.settings, "LISTEN": "127.0.0.1:0", "MAX_QUEUED": 1,
                                   "SERVICE_WAIT": "100ms"}).start()
        url, _ = self.fill()
        first = manager.call("POST", DOWNLOAD, data={"repository": url})
        self.assertEqual(first.status, 504)
        wait_until(lambda: manager.call("POST", DOWNLOAD, data={"repository": url}).status == 429,
                   "the backlog to be full")


@unittest.skipUnless(blobs.CONNECTION, "there is no Azurite")
class Azure(Walk):
    extra = {"AZURE_STORAGE_CONNECTION_STRING": blobs.CONNECTION}

    def setUp(self):
        super().setUp()
        self.kept = blobs.Azure()

    def test_the_connection_can_be_checked(self):
        self.assertEqual(self.manager.get("/v2/repo/check_connection").json["status"], "success")

    def test_a_wrong_key_is_an_error_within_a_200(self):
        wrong = re.sub("AccountKey=[^;]*", "AccountKey=" + "A" * 86 + "==", blobs.CONNECTION)
        self.settings = {**self.settings, "AZURE_STORAGE_CONNECTION_STRING": wrong}
        self.manager = Manager(self, **{**self.settings, "LISTEN": "127.0.0.1:0"}).start()
        self.addresses = [self.manager.address] * 3
        self.start_worker()
        url, _ = self.fill()
        answer = self.upload(self.download(url)["path"])
        self.assertEqual((answer["status"], answer["message"]), ("error", NO_CONNECTION))
        self.assertTrue(answer["error"])
        answer = self.manager.get("/v2/repo/check_connection").json
        self.assertEqual((answer["status"], answer["message"]), ("error", NO_CONNECTION))


del Walk  # only as Local and Azure

if __name__ == "__main__":
    main()
