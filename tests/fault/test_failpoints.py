"""Every place of common/base/failpoint.def, in every process that passes it, with every action.

Several places are armed in one play (play.py), each strikes once. A place that is never passed
is a failure. Alone: SEGUE_FAULT_CASES=place:M:kill[,place:S:stop...] makes one play of those,
SEGUE_FAULT_ALONE=1 a play of its own for each."""

import concurrent.futures
import os
import re
import signal
import traceback
from pathlib import Path

from play import Play
from support import BACKEND, REPO, SANITIZED, Case, Manager, main

ACTIONS = ("kill", "stop", "error")
PER_PLAY, AT_ONCE = (10 if SANITIZED else 6), 6

# On MySQL: what is only there, and what its store does in a way of its own.
MYSQL = re.compile(r"relay_|publish_|delivery_|migration_|commit_|submit_(key|written)|"
                   r"(claim|renew|move)_(written|committed)|reap_|run_")


def places():
    """name, letters of the processes, can it fail"""
    text = (REPO / "common/base/failpoint.def").read_text()
    return re.findall(r"^F\((\w+), (\w+), ([01]),", text, re.M)


def cases(action):
    found = []
    for name, where, can_fail in places():
        if action == "error" and can_fail == "0":
            continue
        if BACKEND == "sqlite" and "X" in where:
            continue
        if BACKEND == "mysql" and not MYSQL.match(name):
            continue
        found += [(name, process, action) for process in where if process != "X"]
    return found


def deal(hands):
    """Into as few plays as hold PER_PLAY each, neighbours apart, no place twice in one."""
    per_play = 1 if os.environ.get("SEGUE_FAULT_ALONE") else PER_PLAY
    count = -(-len(hands) // per_play)
    plays = [{} for _ in range(count)]
    for i, (name, process, action) in enumerate(hands):
        at = next(k % count for k in range(i, i + count) if name not in plays[k % count])
        plays[at][name] = (process, action)
    return plays


class Failpoints(Case):
    maxDiff = None

    def play_all(self, plays):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            told = list(pool.map(self.play, plays))
        failures = [text for text in told if text]
        self.assertFalse(failures, "\n\n".join([f"{len(failures)} plays failed", *failures]))

    def play(self, armed):
        play = Play(self, armed)
        try:
            play.run()
            return None
        except Exception:  # pylint: disable=broad-except
            asked = ",".join(f"{n}:{p}:{a}" for n, (p, a) in armed.items())
            return f"SEGUE_FAULT_CASES={asked}\n{traceback.format_exc()}{play.logs()}"

    def chosen(self):
        text = os.environ.get("SEGUE_FAULT_CASES", "")
        return [tuple(word.split(":")) for word in text.split(",") if word]

    def run_action(self, action):
        if self.chosen():
            hands = [c for c in self.chosen() if c[2] == action]
            plays = [{n: (p, a) for n, p, a in hands}] if hands else []
        else:
            plays = deal(cases(action))
        self.play_all(plays)

    def test_a_process_killed_at_any_place_loses_and_doubles_nothing(self):
        self.run_action("kill")

    def test_a_process_stopped_at_any_place_past_its_leases_loses_and_doubles_nothing(self):
        self.run_action("stop")

    def test_an_error_at_any_place_loses_and_doubles_nothing(self):
        self.run_action("error")

    def test_a_migration_killed_at_any_step_is_finished_by_the_next_start(self):
        files = (REPO / f"task_manager/store/migrations/{BACKEND}").glob("*.up.sql")
        for nth in range(1, len(list(files)) + 1):
            for place in ("migration_scripted", "migration_applied"):
                with self.subTest(place, nth=nth):
                    manager = Manager(self, FAILPOINT=f"{place}:kill:{nth}").launch()
                    self.assertEqual(manager.wait_exit(), -signal.SIGKILL)
                    manager.settings["FAILPOINT"] = ""
                    manager.start()
                    manager.submit()
                    manager.stop()

    def test_every_place_is_marked_in_the_code_and_every_mark_is_listed(self):
        marks = set()
        for folder in ("common", "task_manager", "data_processor"):
            for file in Path(REPO / folder).rglob("*.c"):
                marks |= set(re.findall(r"\bFAILPOINT(?:_ERR)?\(\s*(\w+)", file.read_text()))
        self.assertEqual(marks, {name for name, _, _ in places()})


if __name__ == "__main__":
    main()
