"""stack.py - a compose project under test: up, scale, kill, wait, look.

Works with `docker compose` and docker-compose 1.29. Containers are found by their labels, since
the two name them differently, and asked through `docker`, which is quicker.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path


def run(*command, check=True, env=None, timeout=300):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout,
                          env={**os.environ, **(env or {})})
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n"
                             f"{(done.stdout + done.stderr)[-3000:]}")
    return done


def wait_until(condition, what, seconds=60, pause=0.1):
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(pause)


class Stack:
    """`compose` is the command as words, `settings` what .env would say."""

    def __init__(self, compose, project, root, settings):
        self.no_env = tempfile.NamedTemporaryFile(prefix="segue-env-")  # instead of somebody's .env
        self.command = [*compose, "-p", project, "-f", f"{root}/docker-compose.yml",
                        "--project-directory", root, "--env-file", self.no_env.name]
        self.project, self.settings = project, settings

    def compose(self, *words, **more):
        settings = {**self.settings, **more.pop("settings", {})}
        before = [word for profile in more.pop("profiles", ()) for word in ("--profile", profile)]
        return run(*self.command, *before, *words, env=settings, **more)

    def up(self, *words, **more):
        return self.compose("up", "-d", "--no-build", *words, **more)

    def ids(self, service, everything=False):
        done = run("docker", "ps", "-q", "--no-trunc", *(["-a"] if everything else []),
                   "--filter", f"label=com.docker.compose.project={self.project}",
                   "--filter", f"label=com.docker.compose.service={service}")
        return done.stdout.split()

    def inspect(self, container):
        return json.loads(run("docker", "inspect", container).stdout)[0]

    def health(self, container):
        done = run("docker", "inspect", "-f", "{{.State.Status}} {{.State.Health.Status}}",
                   container, check=False)
        return done.stdout.strip()

    def wait_healthy(self, service, count=1, seconds=90):
        """Until exactly `count` containers run and say that they are well."""
        def is_well():
            ids = self.ids(service)
            return len(ids) == count and all(self.health(i) == "running healthy" for i in ids)
        began = time.monotonic()
        wait_until(is_well, f"{count} of {service} healthy: "
                   f"{[self.health(i) for i in self.ids(service, True)]}", seconds, 0.3)
        return time.monotonic() - began

    def sigkill(self, service, which=0):
        """Kills process 1 from outside, as the kernel would: the restart policy has to bring it
        back. Where its number is out of reach, Docker kills it, which counts as a stop by hand,
        and it is started again here."""
        container = self.ids(service)[which]
        state = self.inspect(container)["State"]
        pid = self.host_pid(container)
        if pid and os.geteuid() == 0:
            os.kill(pid, signal.SIGKILL)
        else:
            run("docker", "kill", "-s", "KILL", container)
            run("docker", "start", container)
        wait_until(lambda: self.has_restarted(container, state["StartedAt"]),
                   f"{service} to be started again", 60)

    def host_pid(self, container):
        """Process 1 of a container as this machine numbers it; None when Docker is elsewhere."""
        pid = self.inspect(container)["State"]["Pid"]
        try:
            is_it = container in Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return None
        return pid if is_it else None

    def has_restarted(self, container, before):
        state = self.inspect(container)["State"]
        return state["Running"] and state["StartedAt"] != before

    def logs(self):
        return self.compose("logs", "--no-color", check=False).stdout

    def down(self):
        self.compose("down", "-v", "--remove-orphans", "-t", "20", check=False,
                     profiles=("proxy", "azure", "observe", "test", "tools"))
