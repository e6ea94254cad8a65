"""play.py - one play: the real programs do all kinds of work while armed places of them die, stop
or fail; somebody keeps starting what died and waking what stopped; in the end nothing may be
lost, doubled, half done or stuck.

The client never gives up: what was not answered is asked again, submits under their own
Idempotency-Key. So whatever strikes, and however often, the play comes to the same end."""

import http.client
import os
import re
import secrets
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
from support import (EXAMPLE, EXAMPLE_TOTALS, PATIENCE, UPLOAD, HandWorker,  # noqa: E402
                     Manager, Worker, call, process_exists, sha256, temp_dir, wait_until)

ENDS = {"DONE", "FAILED", "CANCELLED"}
LEASE_S = 1.0
HELD_S = 1.3 * LEASE_S  # how long a stopped process stays so: its leases run out meanwhile
NEVER = 600_000  # ms; work that ends only when somebody ends it

SKIPS = (b"Song,Date,Number of Plays\nUmbrella,2020-01-01,1\nUmbrella,2020-13-01,2\n"
         b"Umbrella,2020-01-01,3\n")
SKIPS_TOTALS = b"Song,Date,Number of Plays\nUmbrella,2020-01-01,4\n"
SKIPS_REJECTS = b"line,column,reason,excerpt\n3,Date,bad_date,2020-13-01\n"


class Keeper(threading.Thread):
    """Starts a program again that a failpoint killed, and wakes a process that one stopped.
    Anything else that ends by itself is the end of the play."""

    def __init__(self, play):
        super().__init__(daemon=True)
        self.play, self.struck, self.asleep = play, {}, {}
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            try:
                self.look()
            except Exception as error:  # pylint: disable=broad-except
                self.play.broken = repr(error)

    def look(self):
        with self.play.lock:
            self.read_marks()
            self.wake()
            for program in self.play.programs:
                if program.wanted and not program.is_alive():
                    self.bury(program)
                    program.launch()

    def read_marks(self):
        for place, action in self.play.armed.items():
            if place in self.struck:
                continue
            try:
                text = (self.play.marks / place).read_text()
            except FileNotFoundError:
                continue
            if text.endswith("\n"):
                self.struck[place] = int(text)
                if action == "stop":
                    self.asleep[int(text)] = None

    def wake(self):
        for pid, since in list(self.asleep.items()):
            if not process_exists(pid):
                del self.asleep[pid]
            elif since is None:
                if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
                    self.asleep[pid] = time.monotonic()
            elif time.monotonic() - since >= HELD_S:
                os.kill(pid, signal.SIGCONT)
                del self.asleep[pid]

    def bury(self, program):
        """The program has ended: by the hand of a failpoint, or else the play is broken."""
        self.read_marks()
        code = program.process.returncode
        program.forget()
        if code == 0 and not program.wanted:
            return code
        by = [place for place, pid in self.struck.items() if pid == program.pid]
        killed = code == -signal.SIGKILL and any(self.play.armed[p] == "kill" for p in by)
        refused = code == 111 and any(self.play.armed[p] in ("error", "fault") for p in by)
        # A read error under SQLite is a damaged database to it, which is told as such: with 1.
        refused |= code == 1 and any(self.play.armed[p] == "fault" for p in by)
        if not killed and not refused:
            self.play.broken = f"{program.name} ended with {code}"
            raise AssertionError(self.play.broken)
        return code


class Play:
    """armed: {place: (process, action)}, process being one of M, W, S (see failpoint.def).
    faults: (process, kind, number of the call) for programs linked with tests/support/faults.c;
    process M, or W with its slots."""

    def __init__(self, owner, armed, faults=()):
        self.cwd = temp_dir(owner)
        self.marks = self.cwd / "marks"
        self.marks.mkdir()
        self.armed = {place: action for place, (_, action) in armed.items()}
        self.armed.update({process: "fault" for process, _, _ in faults})
        self.faults = faults
        self.lock, self.programs, self.broken = threading.RLock(), [], None
        self.accepted = {}  # key -> id
        self.sent = {}      # key -> the request, to send it again
        self.runs = {}      # key -> id, of pipelines
        self.manager = Manager(owner, cwd=self.cwd, LEASE=f"{int(LEASE_S * 1000)}ms",
                               MAX_ATTEMPTS=30, MAX_CRASHES=30, STOP_GRACE="200ms",
                               HANDLER_THREADS=3,
                               **self.arm(armed, "M"))
        self.hand_queue = f"{self.manager.queue}.hand"
        self.owner, self.worker_arms = owner, self.arm(armed, "WS")
        self.worker = None
        self.keeper = Keeper(self)

    def arm(self, armed, processes):
        spec = ",".join(f"{place}:{action}" for place, (process, action) in armed.items()
                        if process in processes)
        settings = {"FAILPOINT": spec, "FAILPOINT_DIR": self.marks} if spec else {}
        for process, kind, number in self.faults:
            if process in processes:
                settings["SEGUE_FAULTS_ARM"] = f"{kind}:{number}"
                settings["SEGUE_FAULTS_MARK"] = self.marks / process
        return settings

    # -- programs --

    def add(self, program):
        program.wanted = True
        plain_launch = program.launch

        def launch():
            if program is self.manager:
                found = self.addresses()
                if found:
                    program.settings["LISTEN"] = found[-1]
            program.log_from = program.log_path.stat().st_size if program.log_path.exists() else 0
            return plain_launch()
        program.launch = launch
        program.forget = program._forget  # pylint: disable=protected-access
        with self.lock:
            program.launch()
            self.programs.append(program)

    def addresses(self):
        if not self.manager.log_path.exists():
            return []
        return re.findall(r"manager\.ready address=([\d.]+:\d+)", self.manager.log())

    def wait(self, condition, what):
        def checked():
            if self.broken:
                raise AssertionError(self.broken)
            return condition()
        return wait_until(checked, what, 3 * PATIENCE)

    def stop(self, program):
        """SIGTERM once it is ready; true when it ended well, false when a failpoint got it."""
        self.wait(lambda: ".ready " in program.log()[program.log_from:], f"{program.name}'s start")
        with self.lock:
            program.wanted = False
            if program.is_alive():
                program.signal(signal.SIGTERM)
        self.wait(lambda: not program.is_alive(), f"{program.name} to end")
        with self.lock:
            return self.keeper.bury(program) == 0

    def start_again(self, program):
        with self.lock:
            program.launch()
            program.wanted = True

    # -- requests --

    def ask(self, method, path, *ok, **request):
        """Until there is an answer that says something. 5xx: it could not be done now."""
        def once():
            found = self.addresses()
            if not found:
                return None
            host, port = found[-1].split(":")
            try:
                answer = call((host, int(port)), method, path, **request)
            except (OSError, http.client.HTTPException):
                return None
            if answer.status >= 500 or answer.status == 429:
                return None
            assert answer.status in ok, (method, path, answer)
            return answer
        return self.wait(once, f"an answer to {method} {path}")

    def submit(self, key, path, **request):
        request.setdefault("headers", {})["Idempotency-Key"] = key
        self.sent[key] = (path, request)
        task_id = self.ask("POST", path, 202, **request).json["task_id"]
        assert self.accepted.setdefault(key, task_id) == task_id, (key, self.accepted[key], task_id)
        return task_id

    def upload(self, key, content, query=""):
        return self.submit(key, f"{UPLOAD}?queue={self.manager.queue}{query}", body=content,
                           headers={"Content-Type": "text/csv"})

    def task(self, key, **members):
        data = {"type": "noop", "queue": self.manager.queue, **members}
        return self.submit(key, "/v1/tasks", data=data)

    def pipeline(self, key, *steps):
        data = {"definition": {"queue": self.manager.queue, "steps": [
            {"name": f"s{i}", "type": "noop", "params": params} for i, params in enumerate(steps)]}}
        answer = self.ask("POST", "/v1/pipelines/play/runs", 202, data=data,
                          headers={"Idempotency-Key": key})
        run_id = answer.json["run_id"]
        assert self.runs.setdefault(key, run_id) == run_id, (key, self.runs[key], run_id)
        return run_id

    def show_run(self, run_id):
        return self.ask("GET", f"/v1/pipelines/runs/{run_id}", 200).json

    def wait_run(self, run_id, status):
        return self.wait(lambda: (r := self.show_run(run_id))["status"] == status and r,
                         f"run {run_id} to be {status}")

    def show(self, task_id):
        return self.ask("GET", f"/v1/tasks/{task_id}", 200).json

    def wait_status(self, task_id, *wanted):
        return self.wait(lambda: (t := self.show(task_id))["status"] in wanted and t,
                         f"{task_id} to be {wanted}")

    def cancel(self, task_id):
        assert self.ask("DELETE", f"/v1/tasks/{task_id}", 200).json["status"] == "CANCELLED"

    # -- the acts --

    def run(self):
        self.keeper.start()
        try:
            self.add(self.manager)
            self.wait(self.addresses, "the manager to be ready")
            self.manager.address = ("127.0.0.1", int(self.addresses()[-1].split(":")[1]))
            self.worker = Worker(self.owner, self.manager, SLOTS=2, STOP_GRACE="200ms",
                                 **self.worker_arms)
            self.add(self.worker)
            self.act()
            self.check()
            for program in (self.worker, self.manager):
                self.stop(program)
            missed = {p for p, a in self.armed.items() if a != "fault"} - set(self.keeper.struck)
            assert not missed, f"never passed: {sorted(missed)}"
        finally:
            self.keeper.over.set()
            self.keeper.join()
            for program in self.programs:
                if program.is_alive():
                    program.process.kill()
                    program.process.wait()
                    program.forget()

    def act(self):
        zombie = self.a_worker_that_falls_silent()
        self.upload("totals", EXAMPLE)
        self.upload("totals", EXAMPLE)
        self.upload("rejects", SKIPS, "&on_bad_row=skip")
        self.task("again", params={"fail": "transient", "fail_attempts": 1})
        failing = self.task("by-hand", params={"fail": "input", "fail_attempts": 1})
        self.cancel(self.task("waiting", run_at="2099-01-01T00:00:00Z"))
        self.pipeline("run", {}, {"fail": "transient", "fail_attempts": 1}, {})
        ending = self.pipeline("run-told-to-end", {}, {"sleep_ms": NEVER}, {})
        self.wait(lambda: self.show_run(ending)["step"] == "s1", "the second step")
        self.ask("DELETE", f"/v1/pipelines/runs/{ending}", 200)
        self.wait_run(ending, "CANCELLED")
        running = self.task("running", params={"sleep_ms": NEVER})
        self.wait(lambda: self.show(running)["progress"] > 0, "a heartbeat to bring progress")
        self.cancel(running)
        if self.wait_status(failing, "FAILED", "DONE")["status"] == "FAILED":
            self.ask("POST", f"/v1/tasks/{failing}/retry", 200, 409)
        self.a_worker_that_is_stopped()
        self.a_worker_that_comes_too_late(*zombie)
        for key in ("totals", "rejects", "again", "by-hand", "silent"):
            self.wait_status(self.accepted[key], "DONE")
        self.wait_run(self.runs["run"], "DONE")
        while not self.stop(self.manager):
            self.start_again(self.manager)
        self.start_again(self.manager)
        for key, (path, request) in self.sent.items():
            self.submit(key, path, **request)

    def claim_by_hand(self):
        work = self.ask("POST", "/v1/worker/claim", 200, data={
            "worker": "by-hand", "limit": 1, "wait_ms": 0, "queues": [self.hand_queue]})
        return work.json["tasks"]

    def a_worker_that_falls_silent(self):
        self.task("silent", queue=self.hand_queue)
        return self.wait(self.claim_by_hand, "an attempt by hand")

    def a_worker_that_is_stopped(self):
        """Its work goes back at once; when it dies instead, it is stopped once more."""
        task_id = self.task("handed-back", params={"sleep_ms": NEVER})
        outcomes = []
        while outcomes[-1:] != ["released"]:
            self.wait_status(task_id, "PROCESSING")
            self.stop(self.worker)
            outcomes = [a["outcome"] for a in self.show(task_id)["attempts"]]
            if outcomes[-1:] == ["released"]:
                self.cancel(task_id)
            self.start_again(self.worker)

    def a_worker_that_comes_too_late(self, work):
        """What another attempt has been given is closed to the first, whatever happens."""
        hand = HandWorker(self.manager)
        stale = work["output_prefix"] + "totals.csv"
        hand.write(stale, b"stale")
        fresh = self.wait(self.claim_by_hand, "the lease to end and the task to come again")[0]
        assert fresh["token"] != work["token"]
        self.wait(lambda: self.report(work, stale, b"stale", 409)
                  and not (self.manager.storage / stale).exists(), "the stale file to go")
        while True:
            key = fresh["output_prefix"] + "totals.csv"
            hand.write(key, EXAMPLE_TOTALS)
            if self.report(fresh, key, EXAMPLE_TOTALS, 200, 409).status == 200:
                break
            fresh = self.wait(self.claim_by_hand, "another attempt by hand")[0]

    def report(self, work, key, content, *ok):
        return self.ask("POST", "/v1/worker/report", *ok, data={"worker": "by-hand", "reports": [{
            "task_id": work["task_id"], "token": work["token"], "outcome": "done",
            "output": {"key": key, "size": len(content), "sha256": sha256(content)}}]})

    # -- the end --

    def check(self):
        wanted = {"waiting": "CANCELLED", "running": "CANCELLED", "handed-back": "CANCELLED"}
        page = self.ask("GET", "/v1/tasks?page_size=100", 200).json
        alone = sorted(t["id"] for t in page["tasks"] if not t["run_id"])
        assert alone == sorted(self.accepted.values()), page
        self.check_runs([t for t in page["tasks"] if t["run_id"]])
        for key, task_id in self.accepted.items():
            task = self.show(task_id)
            assert task["status"] == wanted.get(key, "DONE"), task
            self.check_history(task)
            self.check_files(task)
        self.check_result("totals", EXAMPLE_TOTALS)
        self.check_result("silent", EXAMPLE_TOTALS)
        self.check_result("rejects", SKIPS_TOTALS)
        self.check_result("rejects", SKIPS_REJECTS, "?artifact=rejects")

    def check_runs(self, tasks):
        """No step was begun twice, none was left out, and no task is nobody's."""
        wanted = {"run": ("DONE", ["DONE", "DONE", "DONE"]),
                  "run-told-to-end": ("CANCELLED", ["DONE", "CANCELLED", "RECEIVED"])}
        begun = {}
        for key, run_id in self.runs.items():
            run = self.show_run(run_id)
            states = [s["status"] for s in run["steps"]]
            assert (run["status"], states) == wanted[key], run
            assert not run["cancelling"], run
            assert all(s["tries"] <= 1 for s in run["steps"]), run
            begun.update({s["task_id"]: s["status"] for s in run["steps"] if s["task_id"]})
        assert {t["id"]: t["status"] for t in tasks} == begun, (tasks, begun)
        page = self.ask("GET", "/v1/pipelines/runs", 200).json
        assert sorted(r["run_id"] for r in page["runs"]) == sorted(self.runs.values()), page

    @staticmethod
    def check_history(task):
        """One end each (and one more for each retry by hand), and an attempt for each claim."""
        events, state = task["events"], None
        for event in events:
            assert event["from"] == state, task
            state = event["to"]
        assert state == task["status"], task
        again = sum(e["from"] == "FAILED" and e["to"] == "RECEIVED" for e in events)
        assert sum(e["to"] in ENDS for e in events) == 1 + again, task
        attempts = task["attempts"]
        assert [a["attempt"] for a in attempts] == list(range(1, task["attempt"] + 1)), task
        assert sum(e["to"] == "PROCESSING" for e in events) == len(attempts), task
        assert task["attempt"] <= task["max_attempts"], task
        done = [a["attempt"] for a in attempts if a["outcome"] == "done"]
        assert done == ([task["attempt"]] if task["status"] == "DONE" else []), task
        assert all(a["ended_at"] for a in attempts), task

    def check_files(self, task):
        """Every file that a row names is there and right."""
        rejects = (task["result"] or {}).get("rejects")
        for file in filter(None, (task["input"], task["output"], rejects)):
            content = (self.manager.storage / file["key"]).read_bytes()
            assert (len(content), sha256(content)) == (file["size"], file["sha256"]), file

    def check_result(self, key, content, query=""):
        answer = self.ask("GET", f"/v1/data_processor/download/{self.accepted[key]}{query}", 200)
        assert answer.body == content, (key, answer.body)

    def logs(self):
        return "".join(f"\n--- the end of {p.log_path.name}:\n{p.log()[-2500:]}"
                       for p in self.programs)


