"""check.py - what must be true once all is quiet, from the tables of one node and the logs of
the workers."""

import re
from collections import Counter

from servers import DATABASE, Trouble

RECEIVED, PROCESSING, DONE = 0, 1, 2
DONE_WELL, HANDED_BACK = 1, 3  # outcomes of attempts


class Verdict:
    def __init__(self, account):
        self.account, self.problems = account, []
        self.accepted, self.ended, self.lost, self.doubled = len(account.accepted), 0, 0, 0
        self.again = 0     # attempts that were lost or failed; those handed back do not count
        self.gap_accept, self.gap_end, self.slowest = 0.0, 0.0, 0.0

    def blame(self, text):
        self.problems.append(text)


def rows(node, text):
    found = node.sql(f"SET SESSION wsrep_sync_wait = 1; {text}", seconds=120)
    if found is None:
        raise Trouble(f"{node.name} does not answer: {text}")
    return found


def open_tasks(node):
    return int(rows(node, f"SELECT COUNT(*) FROM {DATABASE}.task WHERE state < 2")[0][0])


def end_times(node, account):
    """When the tasks ended, in ms, in order."""
    told = {a.id.replace("-", "") for a in account.accepted}
    return sorted(int(r[1]) for r in rows(
        node, f"SELECT LOWER(HEX(id)), finished_ms FROM {DATABASE}.task") if r[0] in told)


def check(account, node, workers):
    """Looks at the tasks of one stage; the tables may hold those of others, too."""
    verdict = Verdict(account)
    tasks = {r[0]: [int(v) for v in r[1:]] for r in rows(
        node, f"SELECT LOWER(HEX(id)), state, attempt, created_ms, finished_ms"
              f" FROM {DATABASE}.task")}
    events, attempts = {}, {}
    for r in rows(node, f"SELECT LOWER(HEX(task_id)), from_state, to_state, attempt"
                        f" FROM {DATABASE}.event ORDER BY seq"):
        events.setdefault(r[0], []).append([int(v) for v in r[1:]])
    for r in rows(node, f"SELECT LOWER(HEX(task_id)), number, token, started_ms, ended_ms, outcome"
                        f" FROM {DATABASE}.attempt ORDER BY task_id, number"):
        attempts.setdefault(r[0], []).append(r[1:])
    keys = Counter(r[0] for r in rows(node, f"SELECT idem_key FROM {DATABASE}.idempotency"))
    claims = claimed_in_logs(workers)
    for ask in account.accepted:
        task_id = ask.id.replace("-", "")
        if task_id not in tasks:
            verdict.lost += 1
            verdict.blame(f"{ask.id} was accepted and is not there")
        else:
            _check_task(verdict, ask, tasks[task_id], events.get(task_id, []),
                        attempts.get(task_id, []), claims)
            if keys[ask.key] != 1:
                verdict.blame(f"{ask.id}: its key is there {keys[ask.key]} times")
    ids = [a.id for a in account.accepted]
    if len(ids) != len(set(ids)):
        verdict.blame(f"{len(ids) - len(set(ids))} keys were answered with another's task")
    _measure(verdict, tasks)
    return verdict


def check_no_strangers(accounts, node):
    """Every task in the tables was asked for: no request made two. All stages together."""
    told = {a.id.replace("-", "") for account in accounts for a in account.accepted}
    there = {r[0] for r in rows(node, f"SELECT LOWER(HEX(id)) FROM {DATABASE}.task")}
    return [f"{len(there - told)} tasks that nobody was told of"] if there - told else []


def claimed_in_logs(workers):
    """How often each (task, attempt) was handed to a worker, by the workers' own account."""
    claims = Counter()
    for worker in workers:
        for line in worker.log().splitlines():
            found = re.search(r"task\.claimed task_id=(\S+).* attempt=(\d+)", line)
            if found:
                claims[(found[1], int(found[2]))] += 1
    return claims


def _check_task(verdict, ask, task, events, attempts, claims):
    state, attempt = task[0], task[1]
    told_before = len(verdict.problems)
    if state == DONE:
        verdict.ended += 1
    elif state in (RECEIVED, PROCESSING):
        verdict.blame(f"{ask.id} has not ended")
    else:
        verdict.blame(f"{ask.id} ended in state {state}")
    verdict.again += sum(int(a[4]) not in (DONE_WELL, HANDED_BACK) for a in attempts)
    at, number, ends = -1, 0, 0
    for before, after, of in events:  # in the order of their numbers: a chain
        if before != at:
            verdict.blame(f"{ask.id}: an event goes from {before}, the task was in {at}: {events}")
        number += after == PROCESSING
        ends += after >= DONE
        if of != number:
            verdict.blame(f"{ask.id}: an event of attempt {of}, and {number} claims: {events}")
        at = after
    if at != state or ends != 1 or number != attempt:
        verdict.blame(f"{ask.id}: state {state}, attempt {attempt}, and {events}")
    if [int(a[0]) for a in attempts] != list(range(1, attempt + 1)):
        verdict.blame(f"{ask.id}: attempts {attempts} of {attempt}")
    if len({a[1] for a in attempts}) != len(attempts):
        verdict.blame(f"{ask.id}: two attempts have one token")
    for one, two in zip(attempts, attempts[1:]):
        if int(two[2]) < int(one[3]):
            verdict.blame(f"{ask.id}: attempt {two[0]} began before {one[0]} had ended")
    for i in range(1, attempt + 1):
        if claims[(ask.id, i)] > 1:
            verdict.blame(f"{ask.id}: attempt {i} was given to {claims[(ask.id, i)]} workers")
    verdict.doubled += len(verdict.problems) > told_before


def _measure(verdict, tasks):
    told = {a.id.replace("-", "") for a in verdict.account.accepted}
    by_address = {}
    for ask in verdict.account.accepted:
        by_address.setdefault(ask.address, []).append(ask.accepted_at)
    for times in by_address.values():
        times.sort()
        verdict.gap_accept = max([verdict.gap_accept, *(b - a for a, b in zip(times, times[1:]))])
    ended = sorted(tasks[i][3] for i in told if i in tasks and tasks[i][3])
    verdict.gap_end = max([0, *(b - a for a, b in zip(ended, ended[1:]))]) / 1000
    verdict.slowest = max([0, *(tasks[i][3] - tasks[i][2] for i in told if i in tasks)]) / 1000
