"""http_call: one HTTP request as a task, where it may go, and what counts as an answer."""

import contextlib
import json
import secrets
import sqlite3
import subprocess
import sys
from pathlib import Path

from support import BACKEND, Case, Manager, Worker, main, run, temp_dir, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from git_server import GitServer  # pylint: disable=wrong-import-position


class Calls(Case):
    def setUp(self):
        self.server = GitServer(self, temp_dir(self))  # any HTTP server will do
        port = self.server.port
        self.settings = {"CALL_HOSTS": f"http://127.0.0.1:{port},http://localhost:{port}",
                         "ALLOW_NETWORKS": "127.0.0.1"}
        self.manager = Manager(self, **self.settings).start()
        self.worker = Worker(self, self.manager, **self.settings).start()

    def submit(self, path, max_attempts=1, **params):
        params.setdefault("url", path if "://" in path else self.server.url(path))
        return self.manager.submit("http_call", params=params, max_attempts=max_attempts)

    def answer(self, path, **params):
        task_id = self.submit(path, **params)
        self.manager.wait_status(task_id, "DONE")
        return self.manager.show(task_id)["result"]

    def fails(self, path, code, error_class="input", **params):
        task_id = self.submit(path, **params)
        self.manager.wait_status(task_id, "FAILED")
        error = self.manager.show(task_id)["error"]
        self.assertEqual((error["code"], error["class"]), (code, error_class), error)
        return error["message"]

    def say(self, path, value, status=200, **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.server.answer_with(path, status, body,
                                **{"Content_Type": "application/json", **headers})


class Answers(Calls):
    def test_a_call_sends_what_it_is_told_and_keeps_what_it_gets(self):
        seen = {}

        def echo(handler):
            seen.update(method=handler.command, path=handler.path, body=handler.body(),
                        headers=dict(handler.headers))
            handler.send(201, b'{"a":{"items":[{"id":7}]}}', Content_Type="application/json",
                         Location="/there", X_Other="y")
        self.server.behaviours["/v1/"] = echo
        result = self.answer("/v1/x", query={"repo_path": "a b&c", "n": 2, "on": True},
                             json={"k": [1, None]}, headers={"X-Key": "v", "Accept": "*/*"},
                             success={"status": [201], "require": ["a.items[0].id"]},
                             extract={"id": "a.items[0].id", "all": "a"})
        self.assertEqual(seen["method"], "POST")
        self.assertEqual(seen["path"], "/v1/x?n=2&on=true&repo_path=a%20b%26c")
        self.assertEqual(json.loads(seen["body"]), {"k": [1, None]})
        self.assertEqual(seen["headers"]["Content-Type"], "application/json")
        self.assertEqual(seen["headers"]["X-Key"], "v")
        self.assertEqual(result, {
            "status": 201, "headers": {"content-type": "application/json", "location": "/there"},
            "extracted": {"id": 7, "all": {"items": [{"id": 7}]}},
            "body": {"a": {"items": [{"id": 7}]}}})

    def test_methods(self):
        self.say("/", {})
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            with self.subTest(method):
                self.server.asked.clear()
                self.answer("/x", method=method)
                self.assertEqual([a.method for a in self.server.asked], [method])

    def test_an_answer_that_is_no_json_is_kept_as_text(self):
        self.say("/text", b"hello \xff\x00", Content_Type="text/plain")
        self.assertEqual(self.answer("/text")["body"], "hello ??")
        self.say("/empty", b"", 204)
        self.assertEqual(self.answer("/empty")["body"], "")

    def test_a_large_answer_is_searched_whole_and_kept_in_part(self):
        self.say("/large", {"pad": "x" * 100_000, "last": 1})
        result = self.answer("/large", extract={"last": "last"})
        self.assertEqual(result["extracted"], {"last": 1})
        self.assertTrue(result["body_truncated"])
        self.assertEqual(len(result["body"]), 32 * 1024)

    def test_a_deep_answer_does_no_harm(self):
        self.say("/deep", b"[" * 1000 + b"]" * 1000)
        self.assertEqual(self.answer("/deep")["body"][:3], "[[[")
        self.say("/abyss", b"[" * 1_000_000)
        self.fails("/abyss", "bad_json", success={"require": ["a"]})


class Failures(Calls):
    def test_each_failure_has_a_name(self):
        self.say("/none", {"error": "no"}, 404)
        self.say("/busy", {}, 503)
        self.say("/many", {}, 429)
        self.say("/yes", {"message": "cloning error", "status": "error"})
        self.say("/html", b"<html>", Content_Type="text/html")
        self.say("/huge", bytes(5 << 20))
        self.server.stall("/slow")
        message = self.fails("/none", "http_status")
        self.assertIn("answers 404", message)
        self.assertIn('{"error": "no"}', message)
        self.fails("/busy", "http_status", "transient")
        self.fails("/many", "http_status", "transient")
        self.fails("/yes", "http_status", success={"status": [201, 202]})
        self.assertIn("'path'", self.fails("/yes", "missing_key", success={"require": ["path"]}))
        self.fails("/yes", "missing_key", extract={"p": "path.x"})
        message = self.fails("/yes", "application_error",
                             success={"equals": {"status": "success"}})
        self.assertIn("'status' is \"error\"", message)
        self.fails("/html", "bad_json", extract={"x": "y"})
        self.fails("/huge", "too_big")
        self.fails("/slow", "timeout", "transient", timeout_s=1)

    def test_a_busy_server_is_asked_again(self):
        answers = [503, 500, 200]

        def behave(handler):
            handler.body()
            handler.send(answers.pop(0) if answers else 200, b"{}")
        self.server.behaviours["/"] = behave
        task_id = self.submit("/x", max_attempts=3)
        self.manager.wait_status(task_id, "DONE")
        self.assertEqual(self.manager.show(task_id)["attempt"], 3)

    def test_nobody_there(self):
        self.server.close()
        self.fails("/x", "connect_error", "transient")

    def test_a_redirect_is_an_answer_and_is_not_followed(self):
        other = GitServer(self, temp_dir(self))
        self.server.answer_with("/away", 302, b"", Location=other.url("/secret"))
        self.fails("/away", "http_status")
        result = self.answer("/away", success={"status": [302]})
        self.assertEqual(result["headers"]["location"], other.url("/secret"))
        self.assertEqual(other.asked, [])


class Guard(Calls):
    def test_wrong_params_are_refused_with_their_place(self):
        url = self.server.url("/x")
        for params, says in (
                ({}, "params.url: is missing"),
                ({"url": 1}, "params.url: must be a string"),
                ({"url": "ftp://x/"}, "must begin with https:// or http://"),
                ({"url": "http://me:pw@127.0.0.1/"}, "must not contain a user name"),
                ({"url": "http://169.254.169.254/latest"}, "is not among the hosts of CALL_HOSTS"),
                ({"url": url + "#x"}, "no fragment"),
                ({"url": url + "?a=1", "query": {"b": 1}}, "has a query already"),
                ({"url": url, "method": "BREW"}, "params.method: must be one of"),
                ({"url": url, "method": "GET", "json": 1}, "a GET has no body"),
                ({"url": url, "query": {"a": []}}, "params.query.a"),
                ({"url": url, "query": "a=b"}, "params.query: must be an object"),
                ({"url": url, "headers": {"Host": "x"}}, "'Host' cannot be set"),
                ({"url": url, "headers": {"X": "a\r\nY: b"}}, "params.headers.X"),
                ({"url": url, "headers": {"X Y": "a"}}, "cannot be set"),
                ({"url": url, "headers": ["a"]}, "params.headers: must be an object"),
                ({"url": url, "success": {"status": [99]}}, "params.success.status[0]"),
                ({"url": url, "success": {"require": ["a..b"]}}, "params.success.require[0]"),
                ({"url": url, "success": {"like": 1}}, "params.success.like"),
                ({"url": url, "extract": {"a": 1}}, "params.extract.a"),
                ({"url": url, "timeout_s": 0}, "params.timeout_s: must be 1 to 3600"),
                ({"url": url, "what": 0}, "params.what: unknown member")):
            with self.subTest(says=says):
                answer = self.manager.post("/v1/tasks", {"type": "http_call", "params": params})
                self.assertEqual(answer.status, 400, answer)
                self.assertIn(says, answer.json["detail"])

    def test_addresses_are_judged_after_dns(self):
        settings = {"CALL_HOSTS": "http://*:*", "ALLOW_NETWORKS": ""}
        manager = Manager(self, **settings).start()
        Worker(self, manager, **settings).start()
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "0.0.0.0"):
            answer = manager.post("/v1/tasks", {"type": "http_call", "params": {
                "url": f"http://{host}:{self.server.port}/"}})
            self.assertEqual(answer.status, 400, (host, answer))
        # Other spellings of 127.0.0.1 look like names until they are resolved.
        for host in ("localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1"):
            with self.subTest(host):
                task_id = manager.submit("http_call", max_attempts=1, params={
                    "url": f"http://{host}:{self.server.port}/"})
                manager.wait_status(task_id, "FAILED")
                error = manager.show(task_id)["error"]
                self.assertEqual((error["code"], error["class"]), ("address_refused", "input"))
        self.assertEqual(self.server.asked, [])

    def test_headers_are_kept_from_sight(self):
        secret = secrets.token_hex(20)
        self.say("/", {})
        task_id = self.submit("/x", headers={"Authorization": f"Bearer {secret}"})
        self.manager.wait_status(task_id, "DONE")
        self.assertEqual(self.server.asked[-1].authorization, f"Bearer {secret}")
        shown = self.manager.get(f"/v1/tasks/{task_id}")
        self.assertEqual(shown.json["params"]["headers"], "***")
        self.assertNotIn(secret.encode(), shown.body)
        found = subprocess.run(["grep", "-rlaF", secret, self.manager.cwd], capture_output=True,
                               check=False).stdout
        self.assertEqual(found, b"")

    def test_a_setting_that_is_wrong_is_told_at_once(self):
        for name, value, says in (("CALL_HOSTS", "a/b", "CALL_HOSTS: 'a/b' is no host"),
                                  ("REPO_HOSTS", "*.x", "REPO_HOSTS: '*.x' is no host"),
                                  ("ALLOW_NETWORKS", "10.0.0.1/8", "is no network"),
                                  ("SECRET_KEY", "short", "shorter than 16")):
            for program in ("task_manager", "data_processor"):
                if name == "SECRET_KEY" and program == "data_processor":
                    continue
                with self.subTest(f"{program} {name}"):
                    done = run(program, "--check-config", cwd=temp_dir(self), **{name: value})
                    self.assertEqual(done.returncode, 2, done)
                    self.assertIn(says, (done.stderr + done.stdout).decode())


class Steps(Calls):
    """HTTP calls as the steps of a pipeline."""

    def test_a_step_calls_with_what_earlier_ones_have_got_and_keeps_its_secrets(self):
        seen = {}

        def second(handler):
            seen.update(body=json.loads(handler.body()), key=handler.headers["X-Key"],
                        path=handler.path)
            handler.send(200, b'{"status":"success","got":"hunter2-and-more"}',
                         Content_Type="application/json")
        self.say("/first", {"job": {"items": [{"id": 7}]}})
        self.server.behaviours["/second"] = second
        definition = {
            "queue": self.manager.queue,
            "input": {"key": {"type": "string", "secret": True}, "base": {"type": "string"}},
            "steps": [
                {"name": "ask", "http": {"url": "${input.base}/first",
                                         "extract": {"id": "job.items[0].id"}}},
                {"name": "tell", "http": {
                    "url": "${input.base}/second", "method": "POST",
                    "query": {"n": "${steps.ask.output.extracted.id}"},
                    "json": {"id": "${steps.ask.output.body.job.items[0].id}"},
                    "headers": {"X-Key": "${input.key}"},
                    "success": {"equals": {"status": "success"}}}}]}
        answer = self.manager.post("/v1/pipelines/calls/runs", {
            "definition": definition,
            "input": {"key": "hunter2-and-more", "base": self.server.url("")}})
        self.assertEqual(answer.status, 202, answer)
        path = f"/v1/pipelines/runs/{answer.json['run_id']}"
        run_ = wait_until(lambda: (r := self.manager.get(path).json)["status"] != "PROCESSING"
                          and r, "the run to end")
        self.assertEqual(run_["status"], "DONE", run_)
        self.assertEqual(seen, {"body": {"id": 7}, "key": "hunter2-and-more",
                                "path": "/second?n=7"})
        self.assertEqual(run_["steps"][1]["params"]["headers"], "***")
        for shown in (path, *(f"/v1/tasks/{s['task_id']}" for s in run_["steps"])):
            self.assertNotIn("hunter2", self.manager.get(shown).body.decode())
        if BACKEND == "sqlite":  # nor is what was given kept in plain
            place = self.manager.settings["DATABASE_URL"].removeprefix("sqlite:")
            with contextlib.closing(sqlite3.connect(place)) as database:
                kept = database.execute("SELECT input FROM run UNION ALL SELECT params FROM task")
                self.assertNotIn("hunter2", str(kept.fetchall()))

    def test_a_definition_of_calls_is_judged_before_and_its_addresses_when_known(self):
        def ask(http, **members):
            return self.manager.post("/v1/pipelines/calls/runs", {"definition": {
                "steps": [{"name": "ask", "http": http}], **members}})
        answer = ask({"url": "http://x/", "method": "BREW", "colour": 1})
        self.assertEqual({m["path"] for m in answer.json["mistakes"]},
                         {"definition.steps[0].http.method", "definition.steps[0].http.colour"})
        self.assertEqual([m["path"] for m in ask({"method": "GET"}).json["mistakes"]],
                         ["definition.steps[0].http.url"])
        self.assert_problem(ask({"url": "http://elsewhere.example/"}), 400, says="CALL_HOSTS")


if __name__ == "__main__":
    main()
