"""drive.py - docker-compose.yml put through what a server meets in a year.

    drive.py --compose "docker compose" --project NAME [--only STEP,...]

Called by tests/compose/run with every image there. Prints a line for each step; exits 0, or 1
with what was broken.
"""

import argparse
import json
import signal
import socket
import sys
import time
from pathlib import Path

import load as loads
from smoke import Client, check, make_csv
from stack import Stack, run, wait_until

ROOT = str(Path(__file__).resolve().parents[2])
OURS = ("task_manager", "data_processor")
LIMIT_S = 900


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Drive:
    def __init__(self, compose, project):
        self.port, self.proxy_port, self.grafana_port = free_port(), free_port(), free_port()
        settings = {"API_PORT": str(self.port), "PROXY_PORT": str(self.proxy_port),
                    "LEASE": "5s", "STOP_GRACE": "8s"}
        self.stack = Stack(compose, project, ROOT, settings)
        self.client = Client(f"http://127.0.0.1:{self.port}", patience=120)
        self.load = None

    # --- steps, in order ---

    def up(self):
        """everything comes up from nothing, in order, and works"""
        self.stack.down()
        began = time.monotonic()
        self.stack.up()
        told = time.monotonic() - began
        self.stack.wait_healthy("data_processor")
        took = time.monotonic() - began
        assert self.client.once("GET", "/readyz").status == 200
        said = run("docker", "logs", self.stack.ids("task_manager")[0])
        assert "store=mysql broker=rabbitmq" in said.stdout + said.stderr, said
        check(self.client)
        self.before = {task["id"] for task in loads.list_tasks(self.client)}
        self.load = loads.Load(self.client).start()
        return f"`up -d` {told:.1f} s, all healthy after {took:.1f} s"

    def sealed(self):
        """the containers have no more rights than they need"""
        for service in OURS:
            container = self.stack.ids(service)[0]
            seen = self.stack.inspect(container)
            host, config = seen["HostConfig"], seen["Config"]
            assert host["ReadonlyRootfs"] and host["PidsLimit"] > 0 and host["Memory"] > 0, host
            assert config["User"] == "10001:10001", config["User"]
            pid = self.stack.host_pid(container)
            if pid:
                status = Path(f"/proc/{pid}/status").read_text()
                facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
                assert int(facts["CapBnd"], 16) == int(facts["CapEff"], 16) == 0, facts
                assert facts["NoNewPrivs"].strip() == "1" and facts["Uid"].split()[0] == "10001"
            for tool in ("sh", "bash", "apt-get", "gcc", "perl", "python3", "curl"):
                done = run("docker", "exec", container, tool, "--version", check=False)
                assert done.returncode in (126, 127), f"{service} has {tool}: {done.stdout}"
            if service == "data_processor":
                assert run("docker", "exec", container, "git", "--version").stdout
        published = run("docker", "ps", "--filter",
                        f"label=com.docker.compose.project={self.stack.project}",
                        "--format", "{{.Ports}}").stdout
        ports = [part for part in published.replace("\n", ", ").split(", ") if "->" in part]
        assert ports == [f"127.0.0.1:{self.port}->5000/tcp"], ports

    def secrets(self):
        """passwords are in files that only those see who need them, and in no environment"""
        manager, worker = (self.stack.ids(service)[0] for service in OURS)
        for container in (manager, worker):
            for line in self.stack.inspect(container)["Config"]["Env"]:
                assert "mysql://" not in line and "amqp://" not in line, line
        done = run("docker", "exec", manager, "task_manager", "--check-config")
        assert "***" in done.stdout and "segue:" not in done.stdout, done.stdout
        mounts = {m["Name"].split("_", 1)[1] for m in self.stack.inspect(worker)["Mounts"] if "Name" in m}
        assert mounts == {"storage", "scratch", "secrets_worker"}, mounts

    def scale(self):
        """four workers share the work; three of them go and hand back what they had"""
        self.stack.up("--scale", "data_processor=4")
        self.stack.wait_healthy("data_processor", 4)
        ids = [self.client.noop(sleep_ms=300) for _ in range(80)]
        self.load.expected.update(dict.fromkeys(ids))
        for task_id in ids:
            self.client.wait_end(task_id)
        four = loads.workers_of(self.client, ids)
        assert len(four) == 4, four
        lost = self.metric("segue_leases_expired_total")
        ids = [self.client.noop(sleep_ms=1500) for _ in range(30)]
        self.load.expected.update(dict.fromkeys(ids))
        self.stack.up("--scale", "data_processor=1")
        self.stack.wait_healthy("data_processor", 1)
        for task_id in ids:
            self.client.wait_end(task_id)
        assert self.metric("segue_leases_expired_total") == lost, "a worker went without handing back"
        self.load.check()
        return f"workers seen: {', '.join(sorted(four))}"

    def kill_data_processor(self):
        """a worker is killed"""
        ids = [self.client.noop(sleep_ms=1000) for _ in range(6)]
        self.load.expected.update(dict.fromkeys(ids))
        wait_until(lambda: any(self.client.task(i)["status"] == "PROCESSING" for i in ids), "work")
        return self.kill("data_processor")

    def kill_task_manager(self):
        """the task manager is killed"""
        return self.kill("task_manager")

    def kill_rabbitmq(self):
        """the broker is killed"""
        return self.kill("rabbitmq")

    def kill_mysql(self):
        """the database is killed"""
        return self.kill("mysql")

    def restart(self):
        """everything is stopped and started again, then taken down and put up"""
        wait_until(lambda: self.load.count() > 20, "tasks")
        self.stack.compose("restart", "-t", "30")
        self.all_well()
        for service in OURS:
            assert self.stack.inspect(self.stack.ids(service)[0])["State"]["ExitCode"] == 0
        self.stack.compose("down")
        self.stack.up()
        self.all_well()
        self.comes_through()

    def drained(self):
        """SIGTERM lets running work end, and the programs end with 0"""
        ids = [self.client.noop(sleep_ms=3000) for _ in range(2)]
        self.load.expected.update(dict.fromkeys(ids))
        wait_until(lambda: all(self.client.task(i)["status"] != "RECEIVED" for i in ids), "work")
        container = self.stack.ids("data_processor")[0]
        run("docker", "stop", "-t", "30", container)
        state = self.stack.inspect(container)["State"]
        assert state["ExitCode"] == 0, state
        run("docker", "start", container)
        self.all_well()
        for task_id in ids:
            task = self.client.wait_end(task_id)
            assert {a["outcome"] for a in task["attempts"]} <= {"done", "released"}, task["attempts"]

    def proxy(self):
        """two task managers behind the proxy, one of them killed"""
        with_profile = {"profiles": ("proxy",), "settings": {"API_PORT": ""}}
        self.load.stop()
        self.stack.up("--scale", "task_manager=2", **with_profile)
        self.stack.wait_healthy("task_manager", 2)
        direct, self.client.address = self.client.address, ("127.0.0.1", self.proxy_port)
        wait_until(lambda: self.is_ready(), "the proxy to have found a task manager", 30)
        more = loads.Load(self.client, seed=100).start()
        wait_until(lambda: more.count() > 60 or more.errors, "uploads through the proxy")
        more.check()
        self.stack.sigkill("task_manager", 1)
        before = more.count()
        wait_until(lambda: more.count() > before + 60 or more.errors, "uploads with one killed")
        self.stack.wait_healthy("task_manager", 2)
        more.stop()
        loads.wait_all_ended(self.client)
        self.load.expected.update(more.expected)
        self.client.address = direct
        self.stack.compose("rm", "-fsv", "proxy", **with_profile)
        self.stack.up("--scale", "task_manager=1")
        self.stack.wait_healthy("task_manager", 1)

    def observe(self):
        """Prometheus finds every task manager, takes the rules, and answers what the board asks"""
        services = ("prometheus",)
        self.stack.up("--no-deps", *services, profiles=("observe",))
        address = self.stack.inspect(self.stack.ids("prometheus")[0])["NetworkSettings"]["Networks"]
        prometheus = Client(f"http://{next(iter(address.values()))['IPAddress']}:9090", 30)

        def targets():
            found = prometheus.call("GET", "/api/v1/targets").json["data"]["activeTargets"]
            return {t["labels"]["job"]: t["health"] for t in found}
        wait_until(lambda: targets() == {"task_manager": "up", "rabbitmq": "up"},
                   f"Prometheus to reach its targets: {targets()}", 60)
        groups = prometheus.call("GET", "/api/v1/rules").json["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        wait_until(lambda: all(rule["health"] == "ok" for rule in prometheus.call(
            "GET", "/api/v1/rules").json["data"]["groups"][0]["rules"]), "the rules to be evaluated", 60)
        board = json.loads(Path(ROOT, "packaging/observe/grafana/board.json").read_text())
        asked = [t["expr"].replace("$__rate_interval", "1m") for p in board["panels"] for t in p["targets"]]
        for query in asked:
            answer = prometheus.call("GET", "/api/v1/query?query=" + "".join(
                f"%{byte:02x}" for byte in query.encode())).json
            assert answer["status"] == "success", (query, answer)
        return f"{len(rules)} rules, {len(asked)} queries of the board"

    def inside(self):
        """the profile test passes in its container, and taskctl finds the task manager"""
        done = self.stack.compose("run", "--rm", "-T", "test")
        assert "every result was right" in done.stdout, done.stdout + done.stderr
        done = self.stack.compose("run", "--rm", "-T", "taskctl", "list")
        assert "DONE" in done.stdout, done.stdout + done.stderr

    def azure(self):
        """blob storage instead of the shared folder"""
        storage = {"settings": {"STORAGE_URL": "azure:segue", "AZURE_CONNECTION": "azurite_connection_string"},
                   "profiles": ("azure",)}
        image = "mcr.microsoft.com/azure-storage/azurite:3.35.0"
        if "azure:CONTAINER" not in run("docker", "run", "--rm", "segue/task-manager", "--help").stdout:
            return "left out: these programs know no azure"
        if run("docker", "image", "inspect", image, check=False).returncode != 0:
            return "left out: there is no image of Azurite"
        self.stack.up(**storage)
        self.all_well()
        more = [make_csv(rows, rows) for rows in (1, 1000, 100000)]
        found = {self.client.upload(content): totals for content, totals in more}
        for task_id, totals in found.items():
            assert self.client.wait_end(task_id)["status"] == "DONE"
            assert self.client.download(task_id) == totals, "wrong bytes from blob storage"
        return "Azurite"

    def end(self):
        """every accepted task has ended once, with the right bytes"""
        self.load.stop()
        loads.wait_all_ended(self.client)
        outcomes = self.verify()
        return f"{len(self.load.expected)} tasks; attempts: {outcomes}; {self.client.retries} calls repeated"

    # --- what the steps have in common ---

    def verify(self):
        own = {**dict.fromkeys(self.before), **self.load.expected}
        failed = [task["id"] for task in loads.list_tasks(self.client) if task["status"] == "FAILED"]
        assert len(failed) == 1 and failed[0] in self.before, failed  # the bad row of check()
        return loads.verify(self.client, own, ignore=failed)

    def is_ready(self):
        try:
            return self.client.once("GET", "/readyz").status == 200
        except OSError:
            return False

    def all_well(self):
        for service in ("mysql", "rabbitmq", *OURS):
            self.stack.wait_healthy(service)
        wait_until(self.is_ready, "the task manager to be ready", 30)

    def metric(self, name):
        for line in self.client.call("GET", "/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(f"there is no metric {name}")

    def kill(self, service):
        began = time.monotonic()
        self.stack.sigkill(service)
        self.all_well()
        well = time.monotonic() - began
        self.comes_through()
        return f"well again after {well:.1f} s"

    def comes_through(self):
        """Clients get on, and a new task is done."""
        before = self.load.count()
        wait_until(lambda: self.load.count() > before + 10 or self.load.errors, "clients to go on")
        self.load.check()
        task_id = self.client.noop()
        self.load.expected[task_id] = None
        assert self.client.wait_end(task_id)["status"] == "DONE"


STEPS = ("up", "sealed", "secrets", "scale", "kill_data_processor", "kill_task_manager",
         "kill_rabbitmq", "kill_mysql", "drained", "restart", "proxy", "observe", "end", "inside",
         "azure")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compose", default="docker compose")
    parser.add_argument("--project", default="segue-test")
    parser.add_argument("--only", default=",".join(STEPS), help="steps, with commas")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    options = parser.parse_args()
    drive = Drive(options.compose.split(), options.project)
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(
        AssertionError(f"not done after {LIMIT_S} s")))
    signal.alarm(LIMIT_S)
    failed = True
    try:
        for name in STEPS:
            if name not in options.only.split(","):
                continue
            step = getattr(drive, name)
            began = time.monotonic()
            told = step()
            print(f"  ok {time.monotonic() - began:6.1f} s  {step.__doc__}" +
                  (f" ({told})" if told else ""), flush=True)
        failed = False
    except AssertionError as error:
        print(f"  FAILED: {name}: {getattr(drive, name).__doc__}\n{error}", flush=True)
        print(drive.stack.logs()[-6000:])
    finally:
        signal.alarm(0)
        if drive.load:
            drive.load.stopped.set()
        if not options.keep:
            drive.stack.down()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
