"""git_server.py - real `git` over HTTP on loopback, and servers that misbehave.

GitServer runs `git http-backend` (part of git) for every request below a folder of bare
repositories, and remembers what it was asked. A path can be given a behaviour of its own instead:
a password, a redirect, silence, a status. HostileRepository writes repositories that `git` itself
would not make, object by object.
"""

import base64
import http.server
import os
import shutil
import ssl
import subprocess
import threading
from pathlib import Path

GIT_ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
           "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
           "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "LC_ALL": "C",
           "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z"}


def git(folder, *arguments, input=None):
    done = subprocess.run(["git", "-C", folder, *arguments], input=input, env=GIT_ENV,
                          capture_output=True, check=False)
    if done.returncode:
        raise AssertionError(f"git {arguments}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Repository:
    """A bare repository, written through git's plumbing: any entry may have any name."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.mkdir(parents=True)
        git(self.path, "init", "-q", "--bare", "-b", "main")

    def blob(self, content):
        return git(self.path, "hash-object", "-w", "--stdin", input=content).decode().strip()

    def raw_tree(self, *entries):
        """(mode, name, object id)... in this order, whatever they are."""
        body = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid)
                        for mode, name, oid in entries)
        return git(self.path, "hash-object", "-w", "--literally", "-t", "tree", "--stdin",
                   input=body).decode().strip()

    def tree(self, files):
        """{b"path/name": bytes | ("mode", content or object id)} -> the id of a tree."""
        here, below = [], {}
        for path, value in files.items():
            name, _, rest = path.partition(b"/")
            if rest:
                below.setdefault(name, {})[rest] = value
            elif isinstance(value, tuple):
                mode, content = value
                here.append((mode, name, content if isinstance(content, str)
                             else self.blob(content)))
            else:
                here.append(("100644", name, self.blob(value)))
        here += [("40000", name, self.tree(inner)) for name, inner in below.items()]
        here.sort(key=lambda e: e[1] + (b"/" if e[0] == "40000" else b""))
        return self.raw_tree(*here)

    def commit(self, tree):
        commit = git(self.path, "commit-tree", tree, "-m", "x").decode().strip()
        git(self.path, "update-ref", "refs/heads/main", commit)
        return commit

    def fill(self, files):
        return self.commit(self.tree(files))


class Asked:
    """One request as the server saw it."""

    def __init__(self, handler):
        self.method, self.path = handler.command, handler.path
        self.headers = dict(handler.headers)
        self.authorization = handler.headers.get("Authorization", "")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def answer(self):
        self.length = int(self.headers.get("Content-Length") or 0)
        self.server.owner.asked.append(Asked(self))
        for prefix, behaviour in list(self.server.owner.behaviours.items()):
            if self.path.startswith(prefix):
                if behaviour(self) is not PASS:
                    return
        self.serve_git()

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while (size := int(self.rfile.readline(), 16)) > 0:
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(self.length)

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def run_git(self):
        """What http-backend says: head and body."""
        path, _, query = self.path.partition("?")
        env = {**GIT_ENV, "GIT_PROJECT_ROOT": str(self.server.owner.folder),
               "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
               "REQUEST_METHOD": self.command, "REMOTE_ADDR": "127.0.0.1",
               "CONTENT_TYPE": self.headers.get("Content-Type", ""),
               "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        body = self.body()
        env["CONTENT_LENGTH"] = str(len(body))
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True,
                              check=False)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        return dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line), rest

    def serve_git(self, change=lambda body: body):
        head, body = self.run_git()
        status = int(head.pop("Status", "200").split()[0])
        self.send(status, change(body), **{k.replace("-", "_"): v for k, v in head.items()})


PASS = object()  # what a behaviour returns to let git answer after all


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients that hang up are what this is for."""


class GitServer:
    """On a free port of 127.0.0.1. `behaviours`: {path prefix: function of the handler}. With
    TLS its certificate is one that nobody has signed."""

    def __init__(self, owner, folder, tls=False):
        self.folder, self.behaviours, self.asked = Path(folder), {}, []
        self.release = threading.Event()  # ends those that hang
        self.http = Server(("127.0.0.1", 0), Handler)
        self.http.owner, self.scheme = self, "https" if tls else "http"
        if tls:
            self.wrap()
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        owner.addCleanup(self.close)

    @property
    def port(self):
        return self.http.server_address[1]

    def url(self, path="", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}{path}"

    def wrap(self):
        name = str(self.folder / "certificate.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", name,
                        "-out", name + ".crt", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(name + ".crt", name)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)

    def repository(self, name):
        return Repository(self.folder / f"{name}.git")

    def remove(self, name):
        shutil.rmtree(self.folder / f"{name}.git")

    def asked_for(self, prefix):
        return [a for a in self.asked if a.path.startswith(prefix)]

    def close(self):
        self.release.set()
        self.http.shutdown()
        self.http.server_close()

    # behaviours

    def require_token(self, prefix, token):
        def behave(handler):
            _, _, given = handler.headers.get("Authorization", "").partition("Basic ")
            if given and base64.b64decode(given).decode().endswith(":" + token):
                return PASS
            handler.body()
            return handler.send(401, b"no", WWW_Authenticate='Basic realm="x"')
        self.behaviours[prefix] = behave

    def answer_with(self, prefix, status, body=b"", **headers):
        def behave(handler):
            handler.body()
            handler.send(status, body, **headers)
        self.behaviours[prefix] = behave

    def stall(self, prefix, after=0):
        """Sends the head and `after` bytes of git's answer to the fetch, and then nothing."""
        def behave(handler):
            if after and not handler.path.endswith("/git-upload-pack"):
                return PASS
            head, body = handler.run_git() if after else ({}, b"")
            if after and b"packfile" not in body:  # the list of refs comes the same way
                handler.send(200, body, **{k.replace("-", "_"): v for k, v in head.items()})
                return None
            if after:
                handler.send_response(200)
                handler.send_header("Content-Type", head["Content-Type"])
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body[:after])
                handler.wfile.flush()
            self.release.wait()
            handler.close_connection = True
            return None
        self.behaviours[prefix] = behave

    def cut(self, prefix, after):
        """Closes the connection after so many bytes of the pack."""
        def behave(handler):
            if not handler.path.endswith("/git-upload-pack"):
                return PASS
            head, body = handler.run_git()
            if b"packfile" not in body:
                handler.send(200, body, **{k.replace("-", "_"): v for k, v in head.items()})
                return None
            handler.send_response(200)
            handler.send_header("Content-Type", head["Content-Type"])
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:after])
            handler.close_connection = True
            return None
        self.behaviours[prefix] = behave
