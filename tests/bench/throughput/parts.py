"""What is measured of Segue alone, on request: each returns the lines of its section and the figures."""

import sqlite3
import statistics
import time

import servers
from report import table  # of the CSV benchmark
from servers import Failed, wait_until
from systems import NOOP, SLOTS
from tables import rounds_text

BUSY_SPELL, MANY_WAITING = 10_000, 100_000
SETTLE_S, SETTLE_MAX_S, STEADY_BYTES = 12, 60, 64 << 10
FEW, MANY = 1_000, 1_000_000
GROWTH = [{"workers": 1, "slots": slots} for slots in (1, 2, 4, 8)] + [{"workers": workers, "slots": 2}
                                                                      for workers in (2, 4)]
COPIES_A_COMMIT = 20


def megabytes(size):
    return f"{size / 1e6:.1f}"


# --- memory -------------------------------------------------------------------------------------


def settled(pids):
    """The processes' memory once their resident part has stayed as it is for longer than the manager's trim takes to
    come round (reaper.c), or after a while."""
    until, since, last = time.monotonic() + SETTLE_MAX_S, time.monotonic(), None
    while True:
        found = [servers.memory_of(pid) for pid in pids]
        moved = last is None or any(abs(now[0] - then[0]) > STEADY_BYTES for now, then in zip(found, last))
        if moved:
            since, last = time.monotonic(), found
        if time.monotonic() > min(since + SETTLE_S, until):
            return found
        time.sleep(0.5)


def processes(system):
    """The manager, the worker, and of one slot the keeper and the process that runs the job."""
    worker = system.workers[0]
    worker.wait_log("worker.ready")
    family = servers.family([worker.pid])
    keeper = next(pid for pid, fields in family.items() if int(fields[1]) == worker.pid)
    job = next(pid for pid, fields in family.items() if int(fields[1]) == keeper)
    return [system.manager.pid, worker.pid, keeper, job]


def memory_of(bench, system):
    with bench.running(system):
        system.start_workers(slots=SLOTS)
        pids = processes(system)
        stages = {"just started": settled(pids)}
        system.submit(BUSY_SPELL)
        system.wait_done(BUSY_SPELL)
        stages[f"idle after {BUSY_SPELL:,} tasks"] = settled(pids)
        system.submit(SLOTS, task=dict(NOOP, params={"sleep_ms": 3_600_000}))
        wait_until(lambda: system.count("state = 1") == SLOTS, "the slots to be busy")
        system.submit(MANY_WAITING)
        wait_until(lambda: system.sql.rows("SELECT COUNT(*) FROM outbox") == [["0"]], "the outbox to be empty", 600, 0.5)
        if system.count("state = 0") != MANY_WAITING:
            raise Failed(f"{system.name}: {system.count('state = 0')} of {MANY_WAITING} tasks wait")
        stages[f"slots busy, {MANY_WAITING:,} wait"] = settled(pids)
        bench.say(f"{system.name}: " + "; ".join(
            f"{stage} " + ", ".join(cell(found) for found in row) for stage, row in stages.items()))
    return stages


def cell(found):
    return " / ".join(map(megabytes, found))


def memory(bench, systems):
    rows, figures = [["resident / PSS / private, MB", "manager", "worker", "keeper of a slot", "its job's process"]], {}
    for system in systems:
        figures[system.name] = memory_of(bench, system(bench))
        rows += [[f"{system.name}: {stage}", *map(cell, found)] for stage, found in figures[system.name].items()]
    return [f"Memory: a manager and a worker with {SLOTS} slots when they have started, when they have nothing left to "
            f"do, and with {SLOTS} long tasks running and {MANY_WAITING:,} more waiting. Of a page that n processes share, "
            "PSS counts the nth part:", "",
            *table(rows)], figures


# --- growth -------------------------------------------------------------------------------------


def growth(bench, systems):
    shapes = [(f"{shape['workers']} x {shape['slots']}", shape) for shape in GROWTH]
    rows, figures = [["finished/s with workers x slots", *(name for name, _ in shapes)]], {}
    for system in systems:
        found = {name: [] for name, _ in shapes}
        for number in range(bench.args.rounds):
            turn = number % len(shapes)
            for name, shape in shapes[turn:] + shapes[:turn]:
                one = system(bench)
                with bench.running(one):
                    one.submit(1)  # tables and caches exist once something was in them
                    bench.submitted = 1
                    found[name].append(bench.drain(one, bench.args.tasks, **shape)[1])
                bench.say(f"round {number + 1} {system.name} {name}: finished {found[name][-1]:,.0f} a second")
        figures[system.name] = found
        rows.append([system.name, *(f"{statistics.median(values):,.0f}" for values in found.values())])
    return [f"Growth: a backlog of {bench.args.tasks:,} tasks, {rounds_text(bench.args)}:", "",
            *table(rows)], figures


# --- a million ----------------------------------------------------------------------------------


def copies_sqlite(system, copies):
    db = sqlite3.connect(system.folder / "segue.db", isolation_level=None)
    db.create_function("copy_id", 2, lambda task, n: (int.from_bytes(task[:6], "big") - 1000 * n).to_bytes(6, "big")
                       + task[6:], deterministic=True)
    db.execute("PRAGMA synchronous = OFF")  # of the filling alone; the manager does not run
    db.execute("PRAGMA cache_size = -400000")

    def columns(name):
        return [row[1] for row in db.execute(f"PRAGMA table_info({name})")]

    copy_all(db.execute, columns, "copy_id({id}, {n})", copies)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def copies_mysql(system, copies):
    shell = system.servers[0].shell()

    def columns(name):
        return [row[0] for row in shell.rows("SELECT column_name FROM information_schema.columns WHERE table_schema = "
                                             f"DATABASE() AND table_name = '{name}' ORDER BY ordinal_position")]

    copy_all(shell.rows, columns,
             "CONCAT(UNHEX(LPAD(HEX(CONV(HEX(LEFT({id}, 6)), 16, 10) - 1000 * {n}), 12, '0')), SUBSTR({id}, 7))", copies)
    shell.rows("ANALYZE TABLE task, attempt, event")
    shell.close()


def copy_all(execute, columns, copied_id, copies):
    """Copies of all tasks with their attempts and events; the id (UUIDv7) of copy n is n seconds older."""
    selects = {}
    for name, key in (("task", "id"), ("attempt", "task_id"), ("event", "task_id")):
        names = [column for column in columns(name) if column != "seq"]  # numbered by the database
        cells = ", ".join(copied_id.format(id=f"o.{key}", n="{n}") if column == key else f"o.{column}" for column in names)
        selects[name] = f"INSERT INTO {name} ({', '.join(names)}) SELECT {cells} FROM base_{name} o"
        execute(f"CREATE TABLE base_{name} AS SELECT * FROM {name}")
    for n in range(1, copies + 1):
        if n % COPIES_A_COMMIT == 1:
            execute("BEGIN")
        for select in selects.values():
            execute(select.format(n=n))
        if n % COPIES_A_COMMIT == 0 or n == copies:
            execute("COMMIT")
    execute(f"UPDATE task_count SET n = n * {copies + 1}")
    for name in selects:
        execute(f"DROP TABLE base_{name}")


COPIES = {"segue-sqlite": copies_sqlite, "segue-mysql": copies_mysql}


def median_ms(system, what, method, target, count=50, body=None, expect=200):
    return system.load(what, method, target, body, count=count, connections=1, expect=expect)["latency_ms"]["p50"]


def look(system):
    """Milliseconds, medians, one request at a time."""
    found = {
        "newest page": median_ms(system, "list", "GET", "/v1/tasks?page_size=50"),
        "newest page of DONE": median_ms(system, "list", "GET", "/v1/tasks?status=DONE&page_size=50"),
        "count of DONE": median_ms(system, "list", "GET", "/v1/tasks?status=DONE&page_size=1"),
        "count of FAILED": median_ms(system, "list", "GET", "/v1/tasks?status=FAILED&page_size=1"),
        "submit": median_ms(system, "submit", "POST", "/v1/tasks", body=b'{"type": "noop"}', expect=202),
    }
    claim = b'{"worker": "bench", "queues": ["default"], "limit": 1}'
    found["claim of one"] = median_ms(system, "claim", "POST", "/v1/worker/claim", body=claim)
    claimed = system.count("state = 1")
    if claimed != 50:
        raise Failed(f"{system.name}: 50 claims gave {claimed} tasks")
    return found


def finish_claimed(system):
    """Runs what look() claimed, once its leases have passed."""
    system.start_workers()
    wait_until(lambda: system.count("state < 2") == 0, "the claimed tasks to end", 120, 0.2)
    system.stop_workers()


def million_of(bench, system):
    with bench.running(system):
        system.start_workers()
        system.submit(FEW)
        system.wait_done(FEW)
        system.stop_workers()
        few = look(system)
        finish_claimed(system)
        before = system.count("state = 2")
        began = time.monotonic()
        if bench.args.fill == "sql":
            system.manager.stop()
            system.sql.close()
            COPIES[system.name](system, -(-MANY // before) - 1)
            system.start_manager()
            system.sql = system.shell()
        else:
            system.start_workers()
            system.submit(MANY - before)
            system.wait_done(MANY)
            system.stop_workers()
        bench.say(f"{system.name}: {system.count('state = 2'):,} finished tasks, filled in "
                  f"{time.monotonic() - began:.0f} s")
        many = look(system)
    return few, many


def million(bench, systems):
    rows, figures = [["ms, median of 50", f"with {FEW:,}", f"with {MANY:,}", "factor"]], {}
    for system in systems:
        few, many = figures[system.name] = million_of(bench, system(bench))
        rows += [[f"{system.name}: {what}", f"{few[what]:.2f}", f"{many[what]:.2f}", f"{many[what] / few[what]:.1f}x"]
                 for what in few]
    how = {"sql": "copied in the database from finished ones, with their attempts and events",
           "api": "submitted and run"}[bench.args.fill]
    return [f"{MANY:,} finished tasks ({how}) beside {FEW:,}:", "", *table(rows)], figures


PARTS = {"memory": memory, "million": million, "growth": growth}
