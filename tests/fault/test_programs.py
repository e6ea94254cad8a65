"""The programs themselves while one call somewhere in them fails: malloc, open, recv, ... The same
play as for the failpoints (play.py); which calls fail is drawn with a fixed seed. A program may
end with 111 for it and be started again, never by a signal; it may not get stuck, and nothing
may be lost or doubled. SEGUE_FAULT_SEED draws others, SEGUE_FAULT_PLAYS more of them,
SEGUE_FAULT_CASES=M:memory:17,W:recv:3 is one play of those."""

import concurrent.futures
import os
import random
import traceback

from play import Play
from support import BACKEND, Case, main

# kind: (calls of it in the manager during a play, in the worker), about
KINDS = {"memory": (20000, 4000), "open": (250, 150), "recv": (300, 150), "send": (150, 100),
         "read": (300, 200), "write": (600, 60), "sync": (80, 10), "connect": (0, 40),
         "thread": (10, 4), "spawn": (0, 5), "accept": (150, 0)}
AT_ONCE = 6


def draw(seed, count):
    """As many plays, each with one fault in either program; early calls more often than late."""
    dice = random.Random(seed)
    plays = []
    for _ in range(count):
        faults = []
        for at, process in enumerate("MW"):
            kind = dice.choice([k for k, calls in KINDS.items() if calls[at]])
            faults.append((process, kind, int(KINDS[kind][at] ** dice.random()) or 1))
        plays.append(faults)
    return plays


class Programs(Case):
    def play(self, faults):
        play = Play(self, {}, faults)
        try:
            play.run()
            return None
        except Exception:  # pylint: disable=broad-except
            asked = ",".join(":".join(map(str, fault)) for fault in faults)
            return f"SEGUE_FAULT_CASES={asked}\n{traceback.format_exc()}{play.logs()}"

    def test_a_call_that_fails_anywhere_loses_and_doubles_nothing(self):
        chosen = os.environ.get("SEGUE_FAULT_CASES")
        if chosen:
            plays = [[tuple(word.split(":")) for word in chosen.split(",")]]
        else:
            plays = draw(int(os.environ.get("SEGUE_FAULT_SEED", "4")),
                         int(os.environ.get("SEGUE_FAULT_PLAYS", "24" if BACKEND == "sqlite" else "12")))
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            told = [text for text in pool.map(self.play, plays) if text]
        self.assertFalse(told, "\n\n".join([f"{len(told)} plays failed", *told]))


if __name__ == "__main__":
    main()
