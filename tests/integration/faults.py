"""faults.py - what the integration tests break: links, disks and servers."""

import subprocess
import sys
import unittest

from support import BIN, REPO, cleanup_of, temp_dir

sys.path.append(str(REPO / "tests/support"))
import tcp_proxy  # pylint: disable=wrong-import-position


proxy_servers = []  # one for all tests of a program, which ends with it


class Proxy(tcp_proxy.Proxy):
    """A link to the server that a URL names, gone with its owner."""

    def __init__(self, owner, url):
        if not proxy_servers:
            proxy_servers.append(tcp_proxy.ProxyServer(BIN))
        super().__init__(proxy_servers[0], url)
        cleanup_of(owner)(self.close)


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
