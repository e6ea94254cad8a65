"""daemons.py - Segue's programs on the cluster, and the proxy in front of them."""

import os
import socket


import load
from servers import Process, free_port


class Daemon(Process):
    def __init__(self, name, program, folder, **settings):
        super().__init__(name, folder)
        self.program, self.settings = program, settings

    def start(self, **changes):
        self.settings.update(changes)
        env = {k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "TMPDIR")}
        env.update({k: str(v) for k, v in self.settings.items()})
        self.launch(self.program, env=env)
        return self


class Manager(Daemon):
    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def __init__(self, name, program, folder, **settings):
        self.port = free_port()
        super().__init__(name, program, folder, LISTEN=f"127.0.0.1:{self.port}", WORKERS=0,
                         MIN_FREE_BYTES="1M", LOG_LEVEL="info", **settings)

    def ready(self):
        try:
            return load.call(self.address, "GET", "/readyz")[0] == 200
        except load.LOST:
            return False

    def wait_ready(self):
        self.wait_for(self.ready, "to be ready")


class Proxy(Process):
    """HAProxy, as in docs/scaling.md: the managers behind one address, and the database nodes
    behind one, of which only the first that lives is used."""

    def __init__(self, folder, managers, nodes):
        super().__init__("haproxy", folder)
        self.http, self.database = free_port(), free_port()
        self.control = folder / "haproxy.sock"
        lines = ["global", f" stats socket {self.control} level admin", "defaults", " timeout connect 2s", " timeout client 60s", " timeout server 60s",
                 "listen managers", f" bind 127.0.0.1:{self.http}", " mode http",
                 " balance roundrobin", " option httpchk GET /readyz", " option redispatch",
                 " default-server inter 500ms fall 2 rise 1"]
        lines += [f" server {m.name} 127.0.0.1:{m.port} check" for m in managers]
        lines += ["listen database", f" bind 127.0.0.1:{self.database}", " mode tcp",
                  " default-server inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions"]
        lines += [f" server {n.name} 127.0.0.1:{n.port} check{' backup' if i else ''}"
                  for i, n in enumerate(nodes)]
        (folder / "haproxy.cfg").write_text("\n".join(lines) + "\n")

    @property
    def address(self):
        return ("127.0.0.1", self.http)

    def start(self):
        self.launch("haproxy", "-db", "-f", self.folder / "haproxy.cfg")
        self.wait_for(self.passes, "to pass requests on")

    def passes(self):
        try:
            return load.call(self.address, "GET", "/healthz")[0] == 200
        except load.LOST:
            return False

    def tell(self, *commands):
        """Through its socket; one connection for each command."""
        for command in commands:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(self.control))
                link.sendall(command.encode() + b"\n")
                while link.recv(4096):
                    pass

    def database_url(self, node):
        return node.url.replace(str(node.port), str(self.database))


class Segue:
    """Two managers on different nodes, a worker for each."""

    def __init__(self, folder, programs, galera, rabbit):
        self.folder, self.galera = folder, galera
        common = {"STORAGE_URL": f"file:{folder}/store", "STOP_GRACE": "5s"}
        self.managers = [Manager(f"m{i + 1}", programs / "task_manager", folder,
                                 DATABASE_URL=galera.nodes[i].url, AMQP_URL=rabbit.nodes[i].url,
                                 **common) for i in range(2)]
        self.workers = [Daemon(f"w{i + 1}", programs / "data_processor", folder,
                               TASK_MANAGER_URL=f"http://127.0.0.1:{self.managers[i].port}",
                               AMQP_URL=rabbit.nodes[i].url, WORKER_NAME=f"w{i + 1}", SLOTS=2,
                               LOG_LEVEL="debug", **common) for i in range(2)]
        self.proxy = Proxy(folder, self.managers, galera.nodes)

    def start_managers(self):
        """At the same moment: on an empty database both want to make the tables."""
        for manager in self.managers:
            manager.start()
        for manager in self.managers:
            manager.wait_ready()

    def start_workers(self, url=None):
        for i, worker in enumerate(self.workers):
            worker.start(TASK_MANAGER_URL=url or f"http://127.0.0.1:{self.managers[i].port}")

    def stop_workers(self):
        for worker in self.workers:
            worker.stop()

    def restart_managers(self, urls):
        for manager, url in zip(self.managers, urls):
            manager.stop()
            manager.start(DATABASE_URL=url)
        for manager in self.managers:
            manager.wait_ready()

    def end(self):
        for process in (*self.workers, *self.managers, self.proxy):
            process.stop()


def said(daemons, text):
    """How many lines of their logs hold it."""
    return sum(daemon.log().count(text) for daemon in daemons)



