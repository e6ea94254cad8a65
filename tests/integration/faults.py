"""faults.py - what the integration tests break: links, disks and servers."""

import socket
import subprocess
import threading
import unittest
import urllib.parse

from support import REPO, cleanup_of, temp_dir


class Proxy:
    """A TCP proxy that can be cut, paused (as if the server had been stopped) and mended."""

    def __init__(self, owner, url):
        at = urllib.parse.urlsplit(url)
        self.target = (at.hostname, at.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = url.replace(f"{at.hostname}:{at.port}", f"127.0.0.1:{self.port}")
        self.is_cut, self.lock, self.open = False, threading.Lock(), []
        self.flows = threading.Event()
        self.flows.set()
        threading.Thread(target=self._accept, daemon=True).start()
        cleanup_of(owner)(self.close)

    def cut(self):
        """Ends what is open; what comes is ended at once."""
        with self.lock:
            self.is_cut = True
            for sock in self.open:
                self._end(sock)
            self.open.clear()

    def mode(self, mode):
        """pause: nothing passes."""
        assert mode == "pause"
        self.flows.clear()

    def mend(self):
        self.flows.set()
        with self.lock:
            self.is_cut = False

    def close(self):
        self.flows.set()
        self.cut()
        self._end(self.listener)

    @staticmethod
    def _end(sock):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                server = None
                if not self.is_cut:
                    try:
                        server = socket.create_connection(self.target)
                    except OSError:
                        pass
                if server is None:
                    client.close()
                    continue
                self.open += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self.flows.wait()
                sink.sendall(data)
        except OSError:
            pass
        self._end(source)
        self._end(sink)


def small_disk(owner, size):
    """A folder on a disk of its own, or a skip."""
    path = temp_dir(owner)
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path],
                              capture_output=True, check=False)
    except OSError as error:
        raise unittest.SkipTest(f"no mount: {error}") from error
    if done.returncode != 0:
        raise unittest.SkipTest("a small disk needs the right to mount: "
                                + done.stderr.decode().strip())
    cleanup_of(owner)(subprocess.run, ["umount", "-l", path], check=False)
    return path


def mount(owner, path, mode):
    """Mounts a small_disk again as "ro" or "rw"."""
    subprocess.run(["mount", "-o", f"remount,{mode}", path], check=True, capture_output=True)
    if mode == "ro":
        cleanup_of(owner)(subprocess.run, ["mount", "-o", "remount,rw", path], check=False,
                          capture_output=True)


def servers(*arguments):
    """tests/support/servers.sh -> the value of the setting that it prints, if any."""
    done = subprocess.run([REPO / "tests/support/servers.sh", *arguments], check=False,
                          capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("=", 1)[-1]
