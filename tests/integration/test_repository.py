"""repository_to_parquet: the pipeline that ships, over a real git server: a run from the clone to
the Parquet file, with a token that nobody sees, killed in every step and resumed."""

import contextlib
import secrets
import sqlite3
import sys
from pathlib import Path

from support import BACKEND, Case, Manager, Worker, main, temp_dir, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from git_server import GitServer  # pylint: disable=wrong-import-position

TOKEN = "ghp_0123456789abcdef"
FILES = {b"README": b"hello\n", b"src/main.c": b"int main(void) { return 0; }\n",
         b"empty": b"", b"bin": bytes(range(256))}


class Repositories(Case):
    def setUp(self):
        self.server = GitServer(self, temp_dir(self))
        self.settings = {"REPO_HOSTS": f"http://127.0.0.1:{self.server.port}",
                         "ALLOW_NETWORKS": "127.0.0.1", "LEASE": "1s"}
        self.manager = Manager(self, **self.settings).start()

    def work(self, **settings):
        settings = {"QUEUES": "repository", "SLOTS": 2, **self.settings, **settings}
        return Worker(self, self.manager, **settings).start()

    def start(self, path="owner/name", **members):
        answer = self.manager.post("/v1/pipelines/repository_to_parquet/runs", {
            "input": {"repository": self.server.url(f"/{path}"), **members}})
        self.assertEqual(answer.status, 202, answer)
        return answer.json["run_id"]

    def show(self, run_id):
        return self.manager.get(f"/v1/pipelines/runs/{run_id}").json

    def wait(self, run_id, status):
        run = wait_until(lambda: (r := self.show(run_id))["status"] != "PROCESSING" and r,
                         "the run to end")
        self.assertEqual(run["status"], status, run)
        return run

    def parquet_files(self):
        return {key for key in self.manager.stored() if key.endswith(".parquet")}


class Whole(Repositories):
    def test_a_repository_becomes_parquet_and_its_token_is_seen_by_nobody(self):
        self.server.repository("owner/name").fill(FILES)
        self.server.require_token("/owner/", TOKEN)
        worker = self.work()
        run_id = self.start(token=TOKEN)
        run = self.wait(run_id, "DONE")
        download, upload, export = (s["output"] for s in run["steps"])
        self.assertEqual(download["files"], len(FILES))
        self.assertEqual(upload["container_name"], "owner-name")
        self.assertEqual(upload["commit"], download["commit"])
        # An archive tells no commit, so it is passed on.
        self.assertEqual(run["steps"][1]["params"]["commit"], download["commit"])
        self.assertTrue(self.parquet_files(), export)
        seen = [f"/v1/pipelines/runs/{run_id}", "/v1/pipelines/runs", "/v1/tasks"]
        seen += [f"/v1/tasks/{s['task_id']}" for s in run["steps"]]
        for path in seen:
            self.assertNotIn(TOKEN, self.manager.get(path).body.decode(), path)
        for program in (self.manager, worker):
            self.assertNotIn(TOKEN, program.log())
        if BACKEND == "sqlite":
            place = self.manager.settings["DATABASE_URL"].removeprefix("sqlite:")
            with contextlib.closing(sqlite3.connect(place)) as database:
                self.assertNotIn(TOKEN, "\n".join(database.iterdump()))

    def test_an_export_knows_no_commit_while_the_container_is_uploaded_to(self):
        commit = self.server.repository("owner/name").fill(FILES)
        self.work()
        run = self.wait(self.start(), "DONE")
        self.assertIn(commit.encode(), self.manager.download(run["steps"][2]["task_id"]).body)
        note = self.manager.storage / "containers/owner-name/info"
        for mark in ("updating", "created"):  # as blob_upload leaves it when it is killed
            note.write_text(f"commit={mark}-{run['steps'][1]['task_id']}\n")
            task_id = self.manager.submit("parquet_export", queue="repository", params={
                "container": "owner-name", "single_parquet": True})
            self.manager.wait_status(task_id, "DONE")
            content = self.manager.download(task_id).body
            self.assertEqual(content[:4], b"PAR1")
            self.assertNotIn(mark.encode() + b"-", content)
            self.assertNotIn(commit.encode(), content)

    def test_what_the_repository_no_longer_has_goes_with_prune_alone(self):
        repository = self.server.repository("owner/name")
        repository.fill({b"kept": b"1", b"dropped": b"2"})
        self.work()
        self.wait(self.start(), "DONE")
        repository.fill({b"kept": b"3"})
        for prune, files in ((False, 2), (True, 1)):
            run = self.wait(self.start(prune=prune), "DONE")
            self.assertEqual(run["steps"][2]["output"]["rows"], files, prune)

    def test_a_missing_token_fails_the_download_and_the_rest_never_begins(self):
        self.server.repository("owner/name").fill(FILES)
        self.server.require_token("/owner/", TOKEN)
        self.work()
        run = self.wait(self.start(), "FAILED")
        self.assertEqual(run["error"]["code"], "credentials")
        self.assertEqual([s["status"] for s in run["steps"]], ["FAILED", "RECEIVED", "RECEIVED"])
        self.assertEqual(self.parquet_files(), set())

    def test_an_address_that_is_no_repository_is_refused_at_once(self):
        for wrong in ("git@host:owner/name", "file:///etc/passwd", "https://example.org/o/n", ""):
            answer = self.manager.post("/v1/pipelines/repository_to_parquet/runs",
                                       {"input": {"repository": wrong}})
            self.assert_problem(answer, 400)
        self.assertEqual(self.manager.get("/v1/pipelines/runs").json["count"], 0)

    def test_a_failed_run_goes_on_when_the_server_is_back_and_reuses_what_there_is(self):
        self.work()
        run = self.wait(self.start(), "FAILED")
        self.assertEqual(run["step"], "download")
        self.server.repository("owner/name").fill(FILES)
        self.assertEqual(self.manager.call(
            "POST", f"/v1/pipelines/runs/{run['run_id']}/resume").status, 200)
        done = self.wait(run["run_id"], "DONE")
        again = self.manager.call("POST",
                                  f"/v1/pipelines/runs/{run['run_id']}/resume?from=export")
        self.assertEqual(again.status, 200, again)
        redone = self.wait(run["run_id"], "DONE")
        self.assertEqual(redone["steps"][:2], done["steps"][:2])
        self.assertEqual(redone["steps"][2]["tries"], 2)


class Killed(Repositories):
    def test_a_worker_killed_in_each_step_loses_nothing(self):
        files = {f"d{i % 7}/f{i}".encode(): secrets.token_bytes(20_000) for i in range(300)}
        self.server.repository("owner/name").fill(files)
        run_id = self.start()
        for number, name in enumerate(("download", "upload", "export")):
            worker = self.work(SLOTS=1)
            wait_until(lambda number=number, name=name: self.show(run_id)["steps"][number].get(
                "task_status", "PROCESSING" if self.show(run_id)["steps_done"] > number else ""
            ) == "PROCESSING", f"{name} to run")
            worker.kill()
        self.work()
        run = self.wait(run_id, "DONE")
        self.assertEqual(run["steps"][0]["output"]["files"], len(files))
        self.assertTrue(self.parquet_files())
        self.assertEqual([s["tries"] for s in run["steps"]], [1, 1, 1])


if __name__ == "__main__":
    main()
