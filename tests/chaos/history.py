"""history.py - what happened in a run, as JSON lines: every request, fault, start and end."""

import json
import threading
import time


class History:
    def __init__(self, path):
        self.path, self.lock = path, threading.Lock()
        self.file = open(path, "w", encoding="utf-8")
        self.began = time.monotonic()

    def note(self, what, **members):
        """Any thread. Times are seconds since the run began and the clock of the databases."""
        line = {"t": round(time.monotonic() - self.began, 3), "ms": int(time.time() * 1000),
                "what": what, **members}
        with self.lock:
            if not self.file.closed:
                self.file.write(json.dumps(line) + "\n")
        return line

    def close(self):
        with self.lock:
            self.file.close()
