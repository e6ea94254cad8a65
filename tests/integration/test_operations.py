"""What an operator meets: the first start, settings, migrations, readiness, metrics, stopping."""

import contextlib
import json
import os
import re
import socket
import sqlite3
import time
from pathlib import Path

from faults import Proxy, mount, small_disk
from support import (BACKEND, EXAMPLE, EXAMPLE_TOTALS, PATIENCE, REPO, UPLOAD, Case, Manager,
                     Program, Worker, call, fresh_database, main, only_on, read_answer, run,
                     temp_dir, wait_until)


def is_free(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def refusal(manager):
    answer = manager.get("/readyz")
    return answer if answer.status == 503 else None


def post_later(owner, manager):
    """A submit on a connection of its own, whose answer may take its time."""
    sock = manager.connect()
    owner.addCleanup(sock.close)
    body = b'{"type": "noop"}'
    sock.sendall(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return sock


class HealthCommand(Case):
    """`task_manager health`, for whoever watches over the process."""

    def health(self, manager, **settings):
        return run("task_manager", "health", cwd=manager.cwd, **{**manager.settings, **settings})

    def test_it_says_yes_while_work_is_accepted_and_no_once_it_is_not(self):
        manager = Manager(self).start()
        done = self.health(manager)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(json.loads(done.stdout)["status"], "ready")
        port = manager.address[1]
        done = self.health(manager, LISTEN=f"0.0.0.0:{port},127.0.0.1:1")
        self.assertEqual(done.returncode, 0, done.stderr)
        manager.stop()
        done = self.health(manager)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(str(port), done.stderr.decode())

    def test_a_manager_that_cannot_accept_work_is_told_apart(self):
        manager = Manager(self, MIN_FREE_BYTES="500T").start_unready()
        done = self.health(manager)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn("503", done.stderr.decode())
        self.assertIn('"disk":"low"', done.stderr.decode())

    def test_an_address_that_cannot_be_asked_is_wrong_use(self):
        done = run("task_manager", "health", cwd=temp_dir(self), LISTEN="127.0.0.1:0")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("LISTEN", done.stderr.decode())


class FirstStart(Case):
    @only_on("sqlite", "without configuration it is SQLite")
    def test_without_any_configuration_it_works_in_an_empty_folder(self):
        folder = temp_dir(self)
        settings = {} if is_free(5000) else {"LISTEN": "127.0.0.1:0"}
        program = Program(self, "task_manager", folder, **settings).launch()
        log = program.wait_log("manager.ready")
        host, port = re.search(r"manager\.ready address=([\d.]+):(\d+)", log).groups()
        if not settings:
            self.assertEqual((host, port), ("127.0.0.1", "5000"))
        address = (host, int(port))
        answer = call(address, "POST", UPLOAD, EXAMPLE, {"Content-Type": "text/csv"})
        task_id = answer.json["task_id"]
        path = f"/v1/tasks/status/{task_id}"
        wait_until(lambda: call(address, "GET", path).json["status"] == "DONE", "the totals")
        answer = call(address, "GET", f"/v1/data_processor/download/{task_id}")
        self.assertEqual(answer.body, EXAMPLE_TOTALS)
        self.assertEqual({entry.name for entry in (folder / "local_storage").iterdir()
                          if entry.is_dir() and not entry.name.startswith(".")}
                         & {"raw_data", "processed_data"}, {"raw_data", "processed_data"})
        self.assertTrue((folder / "local_storage/segue.db").exists())

    def test_the_settings_may_come_from_a_file(self):
        folder = temp_dir(self)
        url = fresh_database(self, folder)
        (folder / "url").write_text(url + "\n")
        (folder / ".env").write_text("# a comment\nexport LISTEN=127.0.0.1:0\nWORKERS='0'\n"
                                     "DATABASE_URL_FILE=url\n")
        program = Program(self, "task_manager", folder).launch()
        self.assertIn(f"store={BACKEND}", program.wait_log("manager.ready"))

    def test_it_serves_on_several_addresses(self):
        manager = Manager(self, LISTEN="127.0.0.1:0,127.0.0.2:0").start()
        addresses = re.findall(r"manager\.ready address=([\d.]+):(\d+)", manager.log())
        self.assertEqual(len(addresses), 2)
        for host, port in addresses:
            self.assertEqual(call((host, int(port)), "GET", "/healthz").status, 200)
        manager.settings["LISTEN"] = "127.0.0.1:0"


class Settings(Case):
    def setUp(self):
        self.folder = temp_dir(self)

    def test_check_config_shows_settings_but_no_secrets(self):
        done = run("task_manager", "--check-config", cwd=self.folder, LEASE="7s",
                   DATABASE_URL="mysql://segue:verysecret@db.example:3306/segue",
                   AMQP_URL="amqp://segue:verysecret@mq.example:5672/")
        self.assertEqual(done.returncode, 0, done.stderr)
        shown = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
        self.assertEqual((shown["DATABASE_URL"], shown["AMQP_URL"]), ("***", "***"))
        self.assertIn(shown["LEASE"], ("7s", "7000ms"))
        self.assertNotIn(b"verysecret", done.stdout + done.stderr)

    def test_a_wrong_setting_is_named_and_ends_with_2(self):
        for program, settings in (
                ("task_manager", {"LISTEN": "everywhere"}),
                ("task_manager", {"LISTEN": "127.0.0.1:99999"}),
                ("task_manager", {"WORKERS": "9999"}),
                ("task_manager", {"LEASE": "ten"}),
                ("task_manager", {"LEASE": "1"}),
                ("task_manager", {"MAX_UPLOAD_BYTES": "-1"}),
                ("task_manager", {"LOG_LEVEL": "loud"}),
                ("task_manager", {"LOG_FORMAT": "xml"}),
                ("task_manager", {"DATABASE_URL": "postgres://db/segue"}),
                ("task_manager", {"AMQP_URL": "http://mq"}),
                ("task_manager", {"STORAGE_URL": "s3://bucket"}),
                ("task_manager", {"TASK_TYPES": "send mail"}),
                ("data_processor", {"TASK_MANAGER_URL": "nowhere"}),
                ("data_processor", {"STORAGE_URL": "s3://bucket"}),
                ("data_processor", {"AMQP_URL": "http://mq"}),
                ("data_processor", {"SLOTS": "many"}),
                ("data_processor", {"QUEUES": "a b"})):
            with self.subTest(f"{program} {settings}"):
                for flags in ([], ["--check-config"]):
                    done = run(program, *flags, cwd=self.folder,
                               **{"LISTEN": "127.0.0.1:0", **settings})
                    self.assertEqual(done.returncode, 2, done.stderr)
                    self.assertIn(next(iter(settings)), done.stderr.decode())
                    self.assertGreater(len(done.stderr.split()), 4)

    def test_wrong_flags_and_commands_end_with_2(self):
        for arguments in (("--colour", "red"), ("--listen",), ("fly",), ("db", "fly"), ("db",)):
            with self.subTest(arguments):
                done = run("task_manager", *arguments, cwd=self.folder)
                self.assertEqual(done.returncode, 2)
                self.assertIn(arguments[0].strip("-"), done.stderr.decode())

    def test_help_and_version_are_there(self):
        for program in ("task_manager", "data_processor", "taskctl"):
            with self.subTest(program):
                done = run(program, "--help", cwd=self.folder)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
                self.assertIn(program.encode(), done.stdout)
                done = run(program, "--version", cwd=self.folder)
                self.assertRegex(done.stdout.decode(), rf"^{program} \d+\.\d+\.\d+\n$")

    def test_a_library_that_comes_along_unused_does_not_set_itself_up(self):
        for program in ("data_processor", "taskctl"):  # libmicrohttpd does it for the manager
            with self.subTest(program):
                done = run(program, "--version", cwd=self.folder, GNUTLS_DEBUG_LEVEL=2)
                self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_a_port_that_is_taken_ends_with_111_and_a_sentence(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            done = run("task_manager", cwd=self.folder, LISTEN=address, WORKERS=0,
                       DATABASE_URL=fresh_database(self, self.folder))
        self.assertEqual(done.returncode, 111, done.stderr)
        self.assertIn(f"cannot listen on {address}: Address already in use", done.stderr.decode())

    @only_on("mysql", "a SQLite file is made when it is missing")
    def test_a_database_that_is_away_ends_with_111_and_a_sentence(self):
        done = run("task_manager", cwd=self.folder, LISTEN="127.0.0.1:0", STARTUP_WAIT="300ms",
                   DATABASE_URL="mysql://segue:verysecret@127.0.0.1:1/segue")
        self.assertEqual(done.returncode, 111, done.stderr)
        self.assertIn("127.0.0.1", done.stderr.decode())
        self.assertNotIn("verysecret", done.stderr.decode())

    @only_on("mysql", "a SQLite file is made when it is missing")
    def test_a_start_waits_for_a_database_that_comes_up_later(self):
        manager = Manager(self, STARTUP_WAIT="2m")
        proxy = Proxy(self, manager.settings["DATABASE_URL"])
        manager.settings["DATABASE_URL"] = proxy.url
        proxy.cut()
        manager.launch()
        manager.wait_log("manager.waiting")
        self.assertTrue(manager.is_alive())
        proxy.mend()
        manager.wait_log("manager.ready")

    @only_on("mysql", "a SQLite file is made when it is missing")
    def test_a_start_that_waits_for_its_database_ends_well_when_asked_to(self):
        manager = Manager(self, STARTUP_WAIT="1h",
                          DATABASE_URL="mysql://segue:verysecret@127.0.0.1:1/segue").launch()
        log = manager.wait_log("manager.waiting")
        self.assertIn("127.0.0.1", log)
        self.assertNotIn("verysecret", log)
        manager.stop()

    @only_on("sqlite", "a MySQL database may have many managers")
    def test_a_second_manager_on_the_same_file_is_refused(self):
        manager = Manager(self).start()
        done = run("task_manager", cwd=self.folder, LISTEN="127.0.0.1:0",
                   DATABASE_URL=manager.settings["DATABASE_URL"])
        self.assertEqual(done.returncode, 111, done.stderr)
        self.assertIn("in use by another task manager", done.stderr.decode())
        self.assertEqual(manager.get("/readyz").status, 200)

    @only_on("mysql", "a SQLite file has one manager")
    def test_two_managers_share_a_database(self):
        first = Manager(self).start()
        second = Manager(self, first.cwd, DATABASE_URL=first.settings["DATABASE_URL"],
                         STORAGE_URL=first.settings["STORAGE_URL"]).start()
        Worker(self, first).start()
        ids = [manager.upload(EXAMPLE, queue=first.queue) for manager in (first, second)] * 2
        for task_id, manager in zip(ids, (second, first, first, second)):
            manager.wait_status(task_id, "DONE")
            self.assertEqual(manager.download(task_id).body, EXAMPLE_TOTALS)


class Migrations(Case):
    def test_the_database_goes_up_and_down_by_hand(self):
        folder = temp_dir(self)
        url = fresh_database(self, folder)

        def db(command):
            done = run("task_manager", "db", command, cwd=folder, DATABASE_URL=url)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.decode()
        self.assertEqual(db("current"), "0\n")
        history = db("history").splitlines()
        self.assertTrue(all(line.endswith("pending") for line in history), history)
        newest = len(history)
        self.assertEqual(db("upgrade"), f"{newest} (newest)\n")
        self.assertEqual(db("upgrade"), f"{newest} (newest)\n")
        self.assertTrue(all(line.endswith("applied") for line in db("history").splitlines()))
        for version in range(newest - 1, -1, -1):
            self.assertEqual(db("downgrade"), f"{version}\n")
        self.assertEqual(db("upgrade"), f"{newest} (newest)\n")
        manager = Manager(self, folder, DATABASE_URL=url).start()
        self.assertEqual(manager.tasks(), [])

    def test_tasks_survive_an_upgrade_at_start(self):
        manager = Manager(self).start()
        task_id = manager.submit()
        manager.stop()
        manager.start()
        self.assertEqual(manager.show(task_id)["status"], "RECEIVED")


class Health(Case):
    def test_readiness_tells_the_parts(self):
        manager = Manager(self).start()
        wait_until(lambda: manager.get("/readyz").json["broker"] != "down", "the broker")
        self.assertEqual(manager.get("/readyz").json, {
            "status": "ready", "store": "ok", "disk": "ok",
            "broker": "none" if BACKEND == "sqlite" else "up", "relay": "ok",
            "outbox": {"rows": 0, "oldest_ms": 0}})

    @only_on("mysql", "SQLite is a file beside the program")
    def test_readiness_is_503_while_the_store_is_gone_and_the_process_lives(self):
        folder = temp_dir(self)
        proxy = Proxy(self, fresh_database(self, folder))
        manager = Manager(self, folder, DATABASE_URL=proxy.url).start()
        proxy.cut()
        answer = manager.get("/readyz")
        self.assertEqual((answer.status, answer.json["status"]), (503, "not ready"))
        self.assertEqual(answer.json["store"], "unavailable")  # why is for the log
        manager.wait_log("http.not_ready")
        self.assertEqual(manager.get("/healthz").status, 200)
        self.assertEqual(manager.get("/metrics").status, 200)
        proxy.mend()
        wait_until(lambda: manager.get("/readyz").status == 200, "the store to be back")

    @only_on("mysql", "SQLite is a file beside the program")
    def test_readiness_answers_while_every_thread_hangs_in_the_database(self):
        folder = temp_dir(self)
        proxy = Proxy(self, fresh_database(self, folder))
        manager = Manager(self, folder, DATABASE_URL=proxy.url, HANDLER_THREADS=2).start()
        proxy.mode("pause")
        stuck = [post_later(self, manager) for _ in range(4)]
        for _ in range(3):  # while it is being found out, and when it is known
            answer = manager.get("/readyz")
            self.assertEqual((answer.status, answer.json["store"]), (503, "unavailable"))
            self.assertEqual(answer.json["disk"], "ok")
            self.assertEqual(manager.get("/healthz").status, 200)
        for sock in stuck:
            self.assert_silent(sock)
        proxy.mend()
        answers = [read_answer(sock) for sock in stuck]
        wait_until(lambda: manager.get("/readyz").status == 200, "the store to be back")
        kept = {answer.json["task_id"] for answer in answers if answer.status == 202}
        self.assertLessEqual(kept, {task["id"] for task in manager.tasks()})

    def assert_silent(self, sock):
        sock.setblocking(False)
        with self.assertRaises(BlockingIOError):
            sock.recv(1)
        sock.settimeout(2 * PATIENCE)

    def test_readiness_tells_of_a_disk_that_cannot_be_written(self):
        disk = small_disk(self, "16M")
        manager = Manager(self, STORAGE_URL=f"file:{disk}/store").start()
        mount(self, disk, "ro")
        answer = manager.get("/readyz")
        self.assertEqual((answer.status, answer.json["disk"]), (503, "unavailable"))
        self.assertEqual(answer.json["store"], "ok")
        self.assertEqual(manager.get("/healthz").status, 200)
        mount(self, disk, "rw")
        self.assertEqual(manager.get("/readyz").status, 200)

    @only_on("mysql", "without a broker nothing is relayed")
    def test_messages_that_wait_too_long_make_it_unready_when_that_is_asked_for(self):
        nobody = "amqp://guest:guest@127.0.0.1:1/"
        patient = Manager(self, AMQP_URL=nobody).start()
        patient.submit()
        strict = Manager(self, AMQP_URL=nobody, READY_RELAY_LAG="10ms").start()
        strict.submit()
        answer = wait_until(lambda: refusal(strict), "the message to have waited too long")
        self.assertEqual((answer.json["relay"], answer.json["store"]), ("behind", "ok"))
        wait_until(lambda: patient.get("/readyz").json["outbox"]["oldest_ms"] > 10, "the same")
        self.assertEqual(patient.get("/readyz").json["status"], "ready")

    @only_on("sqlite", "another way to hold up the database")
    def test_health_and_metrics_wait_for_no_database(self):
        manager = Manager(self, HANDLER_THREADS="1").start()
        path = manager.settings["DATABASE_URL"].removeprefix("sqlite:")
        body = b'{"type": "noop"}'
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db, \
                manager.connect() as submit, manager.connect() as behind:
            db.execute("BEGIN IMMEDIATE")
            submit.sendall(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: "
                           b"application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

            def is_held():
                behind.sendall(b"GET /v1/tasks HTTP/1.1\r\nHost: x\r\n\r\n")
                behind.settimeout(0.2)
                try:
                    return read_answer(behind) is None
                except TimeoutError:
                    return True
            wait_until(is_held, "the only thread to be busy")
            for path in ("/healthz", "/metrics", "/v1/tasks/health", "/v1/data_processor/health"):
                self.assertEqual(manager.get(path).status, 200)
            with self.assertRaises(TimeoutError):  # all of that while the only thread waited
                behind.recv(1)
            db.execute("ROLLBACK")
            self.assertEqual(read_answer(submit).status, 202)
            behind.settimeout(PATIENCE)
            self.assertEqual(read_answer(behind).status, 200)

    def test_metrics_have_the_promised_names_and_count(self):
        promised = re.findall(r'^METRIC\(\w+, (\w+), "(\w+)"',
                              (REPO / "common/observe/metrics.def").read_text(), re.M)
        self.assertGreater(len(promised), 10)
        manager = Manager(self).start()
        Worker(self, manager).start()
        manager.wait_status(manager.submit(), "DONE")
        manager.wait_status(manager.submit(params={"fail": "input"}), "FAILED")
        manager.call("DELETE", f"/v1/tasks/{manager.submit(run_at='2199-01-01T00:00:00Z')}")
        manager.get("/nothing")
        answer = manager.get("/metrics")
        self.assertTrue(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        text = answer.body.decode()
        for kind, name in promised:
            with self.subTest(name):
                self.assertIn(f"# TYPE {name} {kind.lower()}\n", text)
                self.assertRegex(text, rf"(?m)^{name} -?\d+$")
        for name, value in (("tasks_submitted_total", 3), ("tasks_claimed_total", 2),
                            ("tasks_done_total", 1), ("tasks_failed_total", 1),
                            ("tasks_cancelled_total", 1), ("http_client_errors_total", 1)):
            with self.subTest(name):
                self.assertEqual(manager.metric(f"segue_{name}"), value)

    def test_the_log_can_be_json(self):
        manager = Manager(self, LOG_FORMAT="json")
        manager.launch()
        for line in manager.wait_log("manager.ready").splitlines():
            entry = json.loads(line)
            self.assertLessEqual({"time", "level", "event"}, set(entry))


def is_held(program, number):
    """Has the program come so far that the signal no longer kills it?"""
    if "manager.ready" in program.log():
        return True  # it waits for the signal, which then does not show as blocked
    status = Path(f"/proc/{program.pid}/status").read_text()
    blocked = int(re.search(r"^SigBlk:\s*(\w+)", status, re.M).group(1), 16)
    return Path(f"/proc/{program.pid}/exe").resolve().name == "task_manager" and (
        blocked >> (number - 1) & 1)


class Stopping(Case):
    GRACE = 8  # seconds; the program's own grace for open requests is 5

    def stop_within_grace(self, manager):
        began = time.monotonic()
        manager.stop()
        self.assertLess(time.monotonic() - began, self.GRACE if PATIENCE < 60 else PATIENCE)

    def test_a_stop_answers_open_long_polls(self):
        manager = Manager(self).start()
        body = json.dumps({"worker": "w", "queues": [manager.queue], "wait_ms": 60000})
        polls = []
        for _ in range(10):
            sock = manager.connect()
            self.addCleanup(sock.close)
            sock.sendall(f"POST /v1/worker/claim HTTP/1.1\r\nHost: x\r\nContent-Type: "
                         f"application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            polls.append(sock)
        # All are in once as many connections are being handled.
        wait_until(lambda: manager.metric("segue_http_connections") >= 11, "the polls")
        self.stop_within_grace(manager)
        for sock in polls:
            self.assertEqual(read_answer(sock).json, {"tasks": []})

    def test_a_stop_ends_open_uploads_and_idle_connections_and_leaves_nothing(self):
        manager = Manager(self).start()
        idle = manager.connect()
        self.addCleanup(idle.close)
        upload = manager.connect()
        self.addCleanup(upload.close)
        upload.sendall(f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
                       .encode() + b"x" * 100_000)
        wait_until(lambda: any(key.endswith(".part") for key in manager.stored()), "the upload")
        self.stop_within_grace(manager)
        self.assertEqual(manager.stored(), set())
        manager.start()
        self.assertEqual(manager.tasks(), [])

    def test_a_stop_with_workers_attached_ends_well(self):
        manager = Manager(self).start()
        workers = [Worker(self, manager).start() for _ in range(2)]
        manager.wait_status(manager.submit(), "DONE")
        self.stop_within_grace(manager)
        for worker in workers:
            worker.stop()

    @only_on("mysql", "SQLite is a file beside the program")
    def test_a_stop_ends_although_the_database_hangs(self):
        folder = temp_dir(self)
        proxy = Proxy(self, fresh_database(self, folder))
        manager = Manager(self, folder, DATABASE_URL=proxy.url, HANDLER_THREADS=2).start()
        kept = [manager.submit() for _ in range(3)]
        proxy.mode("pause")
        for _ in range(4):
            post_later(self, manager)
        self.assertEqual(manager.get("/readyz").status, 503)
        manager.signal(15)
        # By itself, at the latest when STOP_GRACE (1 s here, but at least 10) is over.
        self.assertIn(manager.wait_exit(), (0, 111))
        proxy.mend()
        manager.start()
        self.assertLessEqual(set(kept), {task["id"] for task in manager.tasks()})

    def test_a_stop_at_any_moment_of_the_start_is_a_good_end(self):
        folder = temp_dir(self)
        url = fresh_database(self, folder)
        for delay_ms in (0, 1, 5, 20, 50):
            program = Program(self, "task_manager", folder, LISTEN="127.0.0.1:0", WORKERS=0,
                              DATABASE_URL=url, STORAGE_URL=f"file:{folder}/store").launch()
            wait_until(lambda program=program: is_held(program, 15), "SIGTERM to be held")
            time.sleep(delay_ms / 1000)  # no matter which moment it is
            program.signal(15)
            self.assertEqual(program.wait_exit(), 0, program.log())

    def test_sigint_is_as_good_as_sigterm(self):
        manager = Manager(self).start()
        os.kill(manager.pid, 2)
        self.assertEqual(manager.wait_exit(), 0)


if __name__ == "__main__":
    main()
