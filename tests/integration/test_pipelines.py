"""Pipelines over HTTP: runs whose steps are tasks go on by themselves, whatever dies meanwhile;
what is wrong with a definition is said at once and with its path."""

import concurrent.futures
import json
import threading

from support import (BACKEND, PATIENCE, UNKNOWN_ID, Case, HandWorker, Manager, Worker, main,
                     only_on, run, start_pair, wait_until)

ENDS = ("DONE", "FAILED", "CANCELLED")


def step(name, **members):
    return {"name": name, "type": "noop", **members}


class Runs:
    """What a client does with runs."""

    def __init__(self, manager):
        self.manager = manager

    def define(self, *steps, **members):
        return {"queue": self.manager.queue, "steps": list(steps), **members}

    def ask(self, definition, name="p", input=None, headers=None):
        data = {"definition": definition} if definition is not None else {}
        if input is not None:
            data["input"] = input
        return self.manager.call("POST", f"/v1/pipelines/{name}/runs", data=data, headers=headers)

    def start(self, definition, name="p", input=None, headers=None):
        answer = self.ask(definition, name, input, headers)
        assert answer.status == 202, answer
        run_id = answer.json["run_id"]
        assert answer.headers["Location"].endswith(f"/v1/pipelines/runs/{run_id}"), answer
        return run_id

    def show(self, run_id):
        answer = self.manager.get(f"/v1/pipelines/runs/{run_id}")
        assert answer.status == 200, answer
        return answer.json

    def wait(self, run_id, status):
        def ended():
            run = self.show(run_id)
            return run if run["status"] in ENDS else None
        run = wait_until(ended, f"run {run_id} to end", 2 * PATIENCE)
        assert run["status"] == status, run
        return run

    def cancel(self, run_id):
        return self.manager.call("DELETE", f"/v1/pipelines/runs/{run_id}")

    def resume(self, run_id, query=""):
        return self.manager.call("POST", f"/v1/pipelines/runs/{run_id}/resume{query}")

    def tasks_of(self, run_id):
        return [t for t in self.manager.tasks() if t["run_id"] == run_id]


def states(run):
    return [step["status"] for step in run["steps"]]


class ByHand(Case):
    """A manager, and the test as the worker."""

    def setUp(self):
        self.manager = Manager(self).start()
        self.runs = Runs(self.manager)
        self.hand = HandWorker(self.manager)

    def work(self, result=None, **members):
        """The next step's task, done with a result."""
        work = self.hand.claim_one(wait_ms=5000)
        answer = self.hand.report(work, **({"result": result} if result else {}), **members)
        assert answer.status == 200, answer
        return work

    def fail(self, message="it broke", error_class="input"):
        return self.work(outcome="failed", error={"class": error_class, "code": "broken",
                                                  "message": message})


class Life(ByHand):
    def test_a_step_gets_what_earlier_ones_have_put_out(self):
        custom = Manager(self, TASK_TYPES="fetch,store").start()
        runs, hand = Runs(custom), HandWorker(custom)
        definition = runs.define(
            {"name": "fetch", "type": "fetch",
             "params": {"url": "https://h/${input.owner}/${input.name}", "depth": 1,
                        "token": "${input.token}", "all": ["${input.tags}", "$${kept}"]}},
            {"name": "store", "type": "store", "max_attempts": 7, "timeout_s": 9,
             "params": {"path": "${steps.fetch.output.files.1.path}", "size":
                        "${steps.fetch.output.size}", "text": "n=${steps.fetch.output.size}",
                        "whole": "${steps.fetch.output}", "run": "${run.name}-${run.id}"}},
            input={"owner": {"type": "string", "required": True},
                   "name": {"type": "string", "default": "segue"},
                   "tags": {"type": "array", "default": ["x", 2]},
                   "token": {"type": "string", "secret": True}})
        run_id = runs.start(definition, input={"owner": "me"})
        first = hand.claim_one()
        self.assertEqual(first["type"], "fetch")
        self.assertEqual(first["params"], {"url": "https://h/me/segue", "depth": 1,
                                           "all": [["x", 2], "${kept}"]})
        output = {"size": 3, "files": [{"path": "a"}, {"path": "b"}]}
        self.assertEqual(hand.report(first, result=output).status, 200)
        second = hand.claim_one()
        self.assertEqual(second["params"], {"path": "b", "size": 3, "text": "n=3",
                                            "whole": output, "run": f"p-{run_id}"})
        self.assertEqual((second["max_attempts"], second["timeout_ms"]), (7, 9000))
        shown = runs.show(run_id)
        self.assertEqual(states(shown), ["DONE", "PROCESSING"])
        self.assertEqual((shown["step"], shown["steps_done"], shown["step_count"]), ("store", 1, 2))
        self.assertEqual(shown["steps"][0]["output"], output)
        self.assertEqual(shown["steps"][1]["worker"], "by-hand")
        self.assertEqual(hand.report(second, result={"ok": True}).status, 200)
        ended = runs.wait(run_id, "DONE")
        self.assertEqual(ended["steps"][1]["output"], {"ok": True})
        self.assertEqual([s["attempts"] for s in ended["steps"]], [1, 1])
        self.assertEqual(ended["input"], {"owner": "me", "name": "segue", "tags": ["x", 2]})
        self.assertTrue(ended["finished_at"] and ended["steps"][0]["started_at"])
        self.assertEqual([(e["from"], e["to"], e["step"]) for e in ended["events"]],
                         [(None, "PROCESSING", "fetch"), ("PROCESSING", "PROCESSING", "store"),
                          ("PROCESSING", "DONE", None)])
        self.assertEqual(custom.show(first["task_id"])["run_id"], run_id)

    def test_a_reference_to_what_is_not_there_fails_the_step_and_names_it(self):
        run_id = self.runs.start(self.runs.define(
            step("a"), step("b", params={"sleep_ms": "${steps.a.output.ms}"}), step("c")))
        self.work({"other": 1})
        ended = self.runs.wait(run_id, "FAILED")
        self.assertEqual(states(ended), ["DONE", "FAILED", "RECEIVED"])
        for error in (ended["error"], ended["steps"][1]["error"]):
            self.assertEqual((error["class"], error["code"]), ("input", "bad_params"))
            self.assertIn("step 'b': params.sleep_ms: 'steps.a.output.ms'", error["message"])
        self.assertEqual(self.hand.claim(), [])

    def test_a_value_that_the_type_does_not_take_fails_the_step(self):
        run_id = self.runs.start(self.runs.define(
            step("a"), step("b", params={"sleep_ms": "${steps.a.output.ms}"})))
        self.work({"ms": "soon"})
        self.assertIn("params.sleep_ms: must be a whole number",
                      self.runs.wait(run_id, "FAILED")["error"]["message"])

    def test_a_failing_step_is_tried_again_and_then_fails_the_run(self):
        run_id = self.runs.start(self.runs.define(step("a", max_attempts=2), step("b")))
        self.fail("first", "transient")
        wait_until(lambda: self.runs.show(run_id)["steps"][0]["task_status"] == "RECEIVED",
                   "another attempt")
        self.fail("second", "transient")
        ended = self.runs.wait(run_id, "FAILED")
        self.assertEqual(ended["error"]["message"], "second")
        self.assertEqual(ended["steps"][0]["attempts"], 2)
        self.assertEqual(states(ended), ["FAILED", "RECEIVED"])
        answer = self.manager.call("POST", f"/v1/tasks/{ended['steps'][0]['task_id']}/retry")
        self.assert_problem(answer, 409, says="resume")

    def test_a_step_that_is_cancelled_as_a_task_cancels_the_run(self):
        run_id = self.runs.start(self.runs.define(step("a"), step("b")))
        task_id = self.runs.show(run_id)["steps"][0]["task_id"]
        self.assertEqual(self.manager.call("DELETE", f"/v1/tasks/{task_id}").status, 200)
        self.assertEqual(states(self.runs.wait(run_id, "CANCELLED")), ["CANCELLED", "RECEIVED"])


class Ends(ByHand):
    def test_a_run_is_cancelled_with_the_task_that_waits_or_runs(self):
        for is_running in (False, True):
            with self.subTest(is_running=is_running):
                run_id = self.runs.start(self.runs.define(step("a"), step("b")))
                work = self.hand.claim_one() if is_running else None
                answer = self.runs.cancel(run_id)
                self.assertEqual((answer.status, answer.json["status"]), (200, "CANCELLED"))
                self.assertEqual(states(answer.json), ["CANCELLED", "RECEIVED"])
                task = self.manager.show(answer.json["steps"][0]["task_id"])
                self.assertEqual(task["status"], "CANCELLED")
                self.assertEqual(self.runs.cancel(run_id).status, 200)  # once more
                if work:
                    self.assertEqual(self.hand.heartbeat(work)["state"], "CANCELLED")
                    self.assertEqual(self.hand.report(work).status, 409)
                self.assertEqual(self.hand.claim(), [])

    def test_what_has_ended_cannot_be_cancelled(self):
        done = self.runs.start(self.runs.define(step("a")))
        self.work()
        self.runs.wait(done, "DONE")
        self.assert_problem(self.runs.cancel(done), 409, says="is DONE")
        failed = self.runs.start(self.runs.define(step("a")))
        self.fail()
        self.runs.wait(failed, "FAILED")
        self.assert_problem(self.runs.cancel(failed), 409, says="is FAILED")

    def test_unknown_runs_and_wrong_ids(self):
        for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/resume"),
                             ("POST", "/resume?dry_run=1")):
            with self.subTest(method, tail=tail):
                path = "/v1/pipelines/runs/"
                self.assert_problem(self.manager.call(method, f"{path}{UNKNOWN_ID}{tail}"), 404)
                self.assert_problem(self.manager.call(method, f"{path}x{tail}"), 400)
        self.assert_problem(self.runs.ask(None, "nobody"), 404, says="'nobody'")
        self.assert_problem(self.manager.get("/v1/pipelines/nobody"), 404)

    def test_a_failed_run_goes_on_from_its_step_and_keeps_what_came_before(self):
        run_id = self.runs.start(self.runs.define(
            step("a"), step("b", params={"sleep_ms": "${steps.a.output.ms}"}), step("c")))
        self.assert_problem(self.runs.resume(run_id), 409, says="is PROCESSING")
        self.work({"ms": 5})
        self.fail()
        before = self.runs.wait(run_id, "FAILED")
        plan = self.runs.resume(run_id, "?dry_run=1")
        self.assertEqual(plan.status, 200)
        self.assertEqual({k: plan.json[k] for k in ("from", "runs", "reuses", "dry_run")},
                         {"from": "b", "runs": ["b", "c"], "reuses": ["a"], "dry_run": True})
        self.assertEqual(self.runs.show(run_id), before)  # a look changes nothing
        self.assert_problem(self.runs.resume(run_id, "?from=c"), 409, says="'b'")
        self.assert_problem(self.runs.resume(run_id, "?from=z"), 404, says="'z'")
        self.assert_problem(self.runs.resume(run_id, "?form=b"), 400)

        answer = self.runs.resume(run_id)
        self.assertEqual((answer.status, answer.json["status"]), (200, "PROCESSING"))
        self.assertIsNone(answer.json["error"])
        self.assertEqual(states(answer.json), ["DONE", "PROCESSING", "RECEIVED"])
        self.assertEqual(self.work({"x": 1})["params"], {"sleep_ms": 5})
        self.work()
        ended = self.runs.wait(run_id, "DONE")
        self.assertEqual([s["tries"] for s in ended["steps"]], [1, 2, 1])
        self.assertEqual(ended["steps"][0], before["steps"][0])
        self.assertNotEqual(ended["steps"][1]["task_id"], before["steps"][1]["task_id"])
        self.assertEqual(len(self.runs.tasks_of(run_id)), 4)

    def test_a_run_that_is_done_is_done_again_from_a_step(self):
        run_id = self.runs.start(self.runs.define(
            step("a"), step("b", params={"sleep_ms": "${steps.a.output.ms}"})))
        self.work({"ms": 1})
        self.work()
        self.runs.wait(run_id, "DONE")
        self.assert_problem(self.runs.resume(run_id), 409, says="is DONE")
        self.assertEqual(self.runs.resume(run_id, "?from=a&dry_run=1").json["runs"], ["a", "b"])
        self.assertEqual(self.runs.resume(run_id, "?from=a").status, 200)
        self.assertEqual(states(self.runs.show(run_id)), ["PROCESSING", "RECEIVED"])
        self.assertIsNone(self.runs.show(run_id)["steps"][1]["params"])
        self.work({"ms": 2})
        self.assertEqual(self.work()["params"], {"sleep_ms": 2})
        self.runs.wait(run_id, "DONE")

    def test_a_cancelled_run_goes_on_too(self):
        run_id = self.runs.start(self.runs.define(step("a"), step("b")))
        self.work()
        self.assertEqual(self.runs.cancel(run_id).json["status"], "CANCELLED")
        self.assertEqual(self.runs.resume(run_id).json["step"], "b")
        self.work()
        self.runs.wait(run_id, "DONE")

    def test_those_who_resume_at_once_begin_the_step_once(self):
        run_id = self.runs.start(self.runs.define(step("a")))
        self.fail()
        self.runs.wait(run_id, "FAILED")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = [f.result() for f in [pool.submit(self.runs.resume, run_id)
                                            for _ in range(8)]]
        self.assertEqual(sorted(a.status for a in answers), [200] + 7 * [409])
        self.assertEqual(len(self.runs.tasks_of(run_id)), 2)


class Requests(ByHand):
    def mistakes(self, definition, **members):
        answer = self.runs.ask(definition, **members)
        self.assertEqual(answer.status, 400, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        return {m["path"]: m["detail"] for m in answer.json["mistakes"]}

    def test_every_mistake_of_a_definition_is_named_by_its_path(self):
        found = self.mistakes({
            "title": 7, "colour": "red", "queue": "no queue",
            "input": {"a": {"type": "strange"}, "b": {"type": "string", "secret": True,
                                                      "default": "x"},
                      "c": {"type": "integer", "default": "1"}, "d d": {"type": "string"}},
            "steps": [
                {"name": "one", "type": "noop", "params": {"sleep_ms": "${steps.two.output.x}"}},
                {"name": "one", "type": "nothing"},
                {"name": "two", "type": "csv_plays"},
                {"name": "three", "type": "noop", "max_attempts": 0, "timeout_s": "1",
                 "params": {"fail": "never", "zap": 1, "crash": ["${input.zz}", "${steps.x}"]}},
                {"type": "noop"}, {"name": "six"}, 7,
                {"name": "eight", "type": "noop", "params": {"spawn": "x${input.a"}}]})
        self.assertEqual(set(found), {f"definition.{path}" for path in (
            "title", "colour", "queue", "input.a.type", "input.b.default", "input.c.default",
            "input.d d", "steps[0].params.sleep_ms", "steps[1].name", "steps[1].type",
            "steps[2].type", "steps[3].max_attempts", "steps[3].timeout_s",
            "steps[3].params.fail", "steps[3].params.zap", "steps[3].params.crash[0]",
            "steps[3].params.crash[1]", "steps[4].name", "steps[5]", "steps[6]",
            "steps[7].params.spawn")})
        self.assertIn("does not come before", found["definition.steps[0].params.sleep_ms"])
        self.assertEqual(self.manager.get("/v1/pipelines/runs").json["count"], 0)
        self.assertEqual(self.manager.tasks(), [])

    def test_limits_and_shapes(self):
        self.assertEqual(self.mistakes({"steps": []}),
                         {"definition.steps": "at least one is needed"})
        self.assertEqual(self.mistakes({}), {"definition.steps": "is missing"})
        many = self.runs.define(*[step(f"s{i}") for i in range(101)])
        self.assertEqual(list(self.mistakes(many)), ["definition.steps"])
        self.assertEqual(list(self.mistakes(self.runs.define(step("a"), name="other"))),
                         ["definition.name"])
        for body in (b"", b"{", b"[]", b'{"definition": 1}', b'{"inputs": {}}'):
            answer = self.manager.call("POST", "/v1/pipelines/p/runs", body,
                                       {"Content-Type": "application/json"})
            self.assertIn(answer.status, (400, 404), body)

    def test_every_mistake_of_an_input_is_named(self):
        definition = self.runs.define(step("a"), input={
            "must": {"type": "string", "required": True}, "n": {"type": "integer"}})
        self.assertEqual(self.mistakes(definition, input={"n": 1.5, "zz": 1}), {
            "input.must": "is missing", "input.n": "must be of the type 'integer'",
            "input.zz": "this pipeline has no such input"})
        self.assertEqual(self.runs.ask(definition, input={"must": "x", "n": None}).status, 202)

    def test_an_input_that_the_first_step_cannot_take_is_refused_at_once(self):
        definition = self.runs.define(step("a", params={"sleep_ms": "${input.ms}"}),
                                      input={"ms": {"type": "string"}})
        self.assert_problem(self.runs.ask(definition, input={"ms": "soon"}), 400,
                            says="step 'a': params.sleep_ms: must be a whole number")
        self.assertEqual(self.manager.get("/v1/pipelines/runs").json["count"], 0)

    def test_a_key_starts_one_run(self):
        definition, headers = self.runs.define(step("a")), {"Idempotency-Key": "k1"}
        first = self.runs.start(definition, headers=headers)
        again = self.runs.ask(definition, headers=headers)
        self.assertEqual((again.status, again.json["run_id"]), (202, first))
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        other = self.runs.ask(self.runs.define(step("b")), headers=headers)
        self.assert_problem(other, 422)
        self.assertEqual(self.manager.get("/v1/pipelines/runs").json["count"], 1)
        self.assertEqual(len(self.manager.tasks()), 1)

    def test_runs_are_listed_in_pages_by_status_and_name(self):
        ids = [self.runs.start(self.runs.define(step("a")), name) for name in "pqp"]
        self.runs.cancel(ids[0])
        page = self.manager.get("/v1/pipelines/runs?page_size=2").json
        self.assertEqual([r["run_id"] for r in page["runs"]], [ids[2], ids[1]])
        self.assertEqual(page["count"], 3)
        rest = self.manager.get(page["next_url"].removeprefix(self.manager.url)).json
        self.assertEqual([r["run_id"] for r in rest["runs"]], [ids[0]])
        self.assertIsNone(rest["next_url"])
        found = self.manager.get("/v1/pipelines/runs?pipeline=p&status=PROCESSING").json
        self.assertEqual([r["run_id"] for r in found["runs"]], [ids[2]])
        for query in ("status=RECEIVED", "status=x", "pipeline=a%20b", "page=0", "name=p"):
            self.assert_problem(self.manager.get(f"/v1/pipelines/runs?{query}"), 400)

    def test_a_full_backlog_refuses_a_new_run_and_repeats_an_old_one(self):
        full = Manager(self, MAX_QUEUED=2).start()
        runs = Runs(full)
        headers = {"Idempotency-Key": "k"}
        first = runs.start(runs.define(step("a")), headers=headers)
        runs.start(runs.define(step("a")))
        self.assert_problem(runs.ask(runs.define(step("a"))), 429)
        self.assertEqual(runs.start(runs.define(step("a")), headers=headers), first)


class Secrets(ByHand):
    SECRET = "hunter2-and-more"

    def everything(self, run_id):
        """All that can be read about a run."""
        paths = ["/v1/pipelines", "/v1/pipelines/runs", f"/v1/pipelines/runs/{run_id}",
                 "/v1/tasks", "/metrics"]
        paths += [f"/v1/tasks/{t['id']}" for t in self.runs.tasks_of(run_id)]
        paths += [f"/v1/tasks/status/{t['id']}" for t in self.runs.tasks_of(run_id)]
        return {path: self.manager.get(path).body.decode() for path in paths}

    def test_a_secret_input_reaches_the_worker_and_nobody_else(self):
        custom = Manager(self, TASK_TYPES="fetch").start()
        self.manager, self.runs, self.hand = custom, Runs(custom), HandWorker(custom)
        definition = self.runs.define(
            {"name": "one", "type": "fetch", "params": {"token": "${input.token}",
                                                        "url": "https://x:${input.token}@h"}},
            {"name": "two", "type": "fetch", "max_attempts": 1, "params": {
                "echo": "${steps.one.output.echo}", "n": 1}},
            input={"token": {"type": "string", "secret": True}})
        run_id = self.runs.start(definition, input={"token": self.SECRET})
        first = self.hand.claim_one()
        self.assertEqual(first["params"], {"token": self.SECRET,
                                           "url": f"https://x:{self.SECRET}@h"})
        self.assertEqual(self.runs.show(run_id)["steps"][0]["params"],
                         {"token": "***", "url": "https://x:***@h"})
        self.assertEqual(custom.show(first["task_id"])["params"]["token"], "***")
        self.hand.report(first, result={"echo": f"got {self.SECRET}"})
        second = self.hand.claim_one()
        self.assertEqual(second["params"]["echo"], f"got {self.SECRET}")
        self.hand.report(second, outcome="failed", error={
            "class": "input", "code": "denied", "message": f"no entry with {self.SECRET}"})
        ended = self.runs.wait(run_id, "FAILED")
        self.assertEqual(ended["error"]["message"], "no entry with ***")
        self.assertEqual(ended["input"], {"token": "***"})
        self.assertEqual(ended["steps"][0]["output"], {"echo": "got ***"})
        resumed = self.runs.resume(run_id)
        self.assertNotIn(self.SECRET, resumed.body.decode())
        self.assertEqual(self.hand.claim_one()["params"]["echo"], f"got {self.SECRET}")
        cancelled = self.runs.cancel(run_id)
        self.assertNotIn(self.SECRET, cancelled.body.decode())
        for path, text in self.everything(run_id).items():
            self.assertNotIn(self.SECRET, text, path)
        self.assertNotIn(self.SECRET, custom.log())


class Known(Case):
    def write(self, folder, name, definition):
        (folder / name).write_text(json.dumps(definition))

    def test_definitions_of_a_folder_are_known_by_name(self):
        manager = Manager(self)
        folder = manager.cwd / "pipelines"
        folder.mkdir()
        definition = {"name": "nightly", "title": "Every night", "queue": manager.queue,
                      "input": {"n": {"type": "integer", "default": 3}},
                      "steps": [step("a", params={"sleep_ms": "${input.n}"})]}
        self.write(folder, "nightly.json", definition)
        (folder / "README.txt").write_text("not a definition")
        manager.settings["PIPELINES_DIR"] = folder
        manager.start()
        known = {p["name"]: p for p in manager.get("/v1/pipelines").json["pipelines"]}
        self.assertEqual(known["nightly"]["title"], "Every night")
        self.assertEqual(known["nightly"]["input"], definition["input"])
        self.assertEqual(known["nightly"]["steps"], [{"name": "a", "type": "noop",
                                                      "queue": manager.queue}])
        self.assertEqual(manager.get("/v1/pipelines/nightly").json, definition)
        runs = Runs(manager)
        run_id = runs.start(None, "nightly", {"n": 1})
        work = HandWorker(manager).claim_one()
        self.assertEqual(work["params"], {"sleep_ms": 1})
        definition["steps"].append(step("b"))  # a run keeps the definition it began with
        manager.stop()
        self.write(folder, "nightly.json", definition)
        manager.start()
        self.assertEqual(len(manager.get("/v1/pipelines/nightly").json["steps"]), 2)
        self.assertEqual(HandWorker(manager).report(work).status, 200)
        self.assertEqual(len(runs.wait(run_id, "DONE")["steps"]), 1)

    def test_a_wrong_definition_refuses_the_start_with_file_and_path(self):
        manager = Manager(self)
        folder = manager.cwd / "pipelines"
        folder.mkdir()
        settings = {**manager.settings, "PIPELINES_DIR": folder}
        good = {"name": "good", "steps": [step("a")]}
        cases = {
            "bad.json": ({"name": "bad", "steps": [{"name": "x", "type": "nothing"}]},
                         "steps[0].type: there is no task type 'nothing'"),
            "cut.json": ('{"name": "cut", ', "malformed JSON"),
            "same.json": (good, "name: there are two pipelines 'good'"),
        }
        self.write(folder, "a.json", good)
        for name, (content, says) in cases.items():
            with self.subTest(name):
                text = content if isinstance(content, str) else json.dumps(content)
                (folder / name).write_text(text)
                for arguments in (["--check-config"], []):
                    ended = run("task_manager", *arguments, cwd=manager.cwd, **settings)
                    self.assertEqual(ended.returncode, 2, ended)
                    said = ended.stderr.decode()
                    self.assertIn(f"{folder}/{name}", said)
                    self.assertIn(says, said)
                (folder / name).unlink()
        ended = run("task_manager", "--check-config", cwd=manager.cwd, **settings)
        self.assertEqual(ended.returncode, 0, ended)
        settings["PIPELINES_DIR"] = folder / "missing"
        self.assertEqual(run("task_manager", "--check-config", cwd=manager.cwd,
                             **settings).returncode, 2)


class Deaths(Case):
    def test_a_manager_killed_again_and_again_loses_and_doubles_no_step(self):
        manager = Manager(self, LEASE="1s", MAX_ATTEMPTS=50).start()
        worker = Worker(self, manager, SLOTS=2).start()
        runs = Runs(manager)
        definition = runs.define(*[step(f"s{i}", params={"sleep_ms": 30}) for i in range(12)])
        ids = [runs.start(definition) for _ in range(6)]
        for round_ in range(4):
            done = sum(runs.show(i)["steps_done"] for i in ids)
            wait_until(lambda done=done: sum(runs.show(i)["steps_done"] for i in ids) > done + 3,
                       "some steps")
            (manager if round_ != 2 else worker).kill()
            (manager if round_ != 2 else worker).start()
        for run_id in ids:
            ended = runs.wait(run_id, "DONE")
            self.assertEqual([s["tries"] for s in ended["steps"]], 12 * [1])
            tasks = runs.tasks_of(run_id)
            self.assertEqual({t["id"] for t in tasks}, {s["task_id"] for s in ended["steps"]})
            self.assertTrue(all(t["status"] == "DONE" for t in tasks))

    def test_a_worker_killed_inside_a_step_costs_an_attempt_and_no_more(self):
        manager = Manager(self, LEASE="1s").start()
        worker = Worker(self, manager).start()
        runs = Runs(manager)
        run_id = runs.start(runs.define(step("a"), step("b", params={"sleep_ms": 1500}),
                                        step("c")))
        wait_until(lambda: runs.show(run_id)["steps"][1].get("task_status") == "PROCESSING",
                   "the second step to run")
        worker.kill()
        worker.start()
        ended = runs.wait(run_id, "DONE")
        self.assertEqual([s["attempts"] for s in ended["steps"]], [1, 2, 1])

    def test_runs_are_removed_when_their_time_is_over(self):
        manager = start_pair(self, RETENTION="1s")
        runs = Runs(manager)
        ended = runs.start(runs.define(step("a"), step("b")))
        going = runs.start(runs.define(step("a", params={"sleep_ms": 600000})))
        path = f"/v1/pipelines/runs/{ended}"
        wait_until(lambda: manager.get(path).status == 404, "the run to be removed")
        self.assertEqual(runs.show(going)["status"], "PROCESSING")
        self.assertEqual(runs.cancel(going).status, 200)


class Many(Case):
    RUNS, STEPS = 1000, 3

    def test_a_thousand_runs_at_once_all_come_to_their_end(self):
        manager = start_pair(self)
        runs = Runs(manager)
        definition = runs.define(*[step(f"s{i}") for i in range(self.STEPS)])
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            ids = list(pool.map(lambda _: runs.start(definition), range(self.RUNS)))
        self.assertEqual(len(set(ids)), self.RUNS)

        def count(status):
            return manager.get(f"/v1/pipelines/runs?page_size=1&status={status}").json["count"]
        wait_until(lambda: count("PROCESSING") == 0, "every run to end", 4 * PATIENCE)
        self.assertEqual(count("DONE"), self.RUNS)
        tasks = manager.get("/v1/tasks?page_size=1").json["count"]
        self.assertEqual(tasks, self.RUNS * self.STEPS)
        self.assertEqual(manager.metric("segue_runs_done_total"), self.RUNS)
        self.assertEqual(manager.metric("segue_run_steps_started_total"), self.RUNS * self.STEPS)


class Several(Case):
    @only_on("mysql", "SQLite has one manager")
    def test_two_managers_begin_no_step_twice(self):
        first = Manager(self).start()
        shared = {name: first.settings[name] for name in ("DATABASE_URL", "STORAGE_URL")}
        second = Manager(self, first.cwd, **shared)
        second.queue = first.queue
        second.start()
        for manager in (first, second):
            Worker(self, manager, SLOTS=2).start()
        runs = [Runs(first), Runs(second)]
        definition = runs[0].define(*[step(f"s{i}") for i in range(8)])
        ids = [runs[i % 2].start(definition) for i in range(40)]
        stopping = threading.Event()
        cancelled = ids[30:]

        def cancel_all():
            for i, run_id in enumerate(cancelled):
                answers = [r.cancel(run_id).status for r in (runs[i % 2], runs[1 - i % 2])]
                assert set(answers) <= {200, 409}, answers
            stopping.set()
        thread = threading.Thread(target=cancel_all)
        thread.start()
        for run_id in ids[:30]:
            ended = runs[0].wait(run_id, "DONE")
            self.assertEqual([s["tries"] for s in ended["steps"]], 8 * [1])
        thread.join(4 * PATIENCE)
        self.assertTrue(stopping.is_set())
        owned = {}
        for task in first.tasks():
            owned.setdefault(task["run_id"], []).append(task)
            self.assertIn(task["status"], ENDS)
        for run_id in ids:
            ended = wait_until(lambda run_id=run_id: (r := runs[0].show(run_id))["status"] in ENDS
                               and r, "a run to end")
            begun = {s["task_id"] for s in ended["steps"] if s["task_id"]}
            self.assertEqual({t["id"] for t in owned[run_id]}, begun)


if __name__ == "__main__":
    main()
