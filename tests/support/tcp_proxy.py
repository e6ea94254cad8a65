"""tcp_proxy.py - links that fail on command: build/*/tests/tcp_proxy, spoken to over a pipe.

One process serves all proxies of a test program; it ends with the pipe, so with the program.
"""

import subprocess
import threading
import urllib.parse
from pathlib import Path


class ProxyServer:
    """The process. `program` is next to the programs under test: BIN/../tests/tcp_proxy."""

    def __init__(self, bin_dir):
        self.lock, self.count = threading.Lock(), 0
        self.process = subprocess.Popen([Path(bin_dir).parent / "tests/tcp_proxy"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        start_new_session=True)

    def ask(self, *words):
        """One command -> the words of its answer."""
        with self.lock:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().split()
        if not answer or answer[0] != "ok":
            raise RuntimeError(f"tcp_proxy {words}: {' '.join(answer) or 'it has ended'}")
        return answer[1:]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Proxy:
    """A link to the server that `url` names; `self.url` leads through it."""

    def __init__(self, server, url):
        at = urllib.parse.urlsplit(url)
        with server.lock:
            server.count += 1
            self.name = f"p{server.count}"
        self.server = server
        self.port = int(self._ask("open", at.hostname, at.port)[0])
        self.address = ("127.0.0.1", self.port)
        self.url = url.replace(f"{at.hostname}:{at.port}", f"127.0.0.1:{self.port}")

    def _ask(self, command, *words):
        return self.server.ask(command, self.name, *words)

    def lead_to(self, port):
        """The server has moved there; 0: it is nowhere."""
        self._ask("target", port)

    def mode(self, mode):
        """pass, pause, drop, refuse; pause_requests, drop_answers, ..."""
        self._ask("mode", mode)

    def reset(self):
        self._ask("reset")

    def cut(self):
        """Ends what is open; what comes is ended at once."""
        self.mode("refuse")
        self.reset()

    def mend(self):
        self.mode("pass")

    def delay(self, ms):
        self._ask("delay", ms)

    def limit(self, way, number):
        """Connections end after so many bytes of "requests" or "answers"; -1: no more."""
        self._ask("limit", way, number)

    def trap(self, cut, pattern, times=1):
        """Cuts who sends the pattern (bytes): "before" it is passed on, "unanswered" or
        "answered". Nothing is in wait with times=0."""
        text = "".join(chr(c) if 32 < c < 127 and c != 92 else f"\\x{c:02x}" for c in pattern)
        self._ask("trap", cut, times, text)

    def accepted(self):
        return int(self._ask("count")[0])

    def sprung(self):
        """Connections that traps have cut."""
        return int(self._ask("count")[1])

    def dropped(self):
        """Bytes."""
        return int(self._ask("count")[2])

    def close(self):
        self._ask("close")
