"""blobs.py - looking into containers without any code of Segue: the files of local ones, and Azure
by its REST interface."""

import base64
import email.utils
import hashlib
import hmac
import http.client
import os
import re
import urllib.parse
import xml.etree.ElementTree

CONNECTION = os.environ.get("TEST_AZURE_STORAGE_CONNECTION_STRING", "")


def through(connection, proxy_port):
    """The connection string whose server is behind a proxy."""
    return re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{proxy_port}", connection)


def endpoint(connection=CONNECTION):
    return re.search(r"BlobEndpoint=([^;]*)", connection).group(1)


class Azure:
    """Signs as "Authorize with Shared Key" of the REST reference says."""

    def __init__(self, connection=CONNECTION):
        parts = dict(part.split("=", 1) for part in connection.split(";") if part)
        self.account, self.key = parts["AccountName"], base64.b64decode(parts["AccountKey"])
        self.at = urllib.parse.urlsplit(parts["BlobEndpoint"])

    def call(self, method, path, query=None, headers=None, body=b""):
        path = self.at.path + urllib.parse.quote(path)
        query, headers = query or {}, dict(headers or {})
        headers |= {"x-ms-date": email.utils.formatdate(usegmt=True),
                    "x-ms-version": "2021-12-02"}
        lines = [method, "", "", str(len(body) or ""), "", "", "", "", "", "", "", ""]
        lines += [f"{name}:{headers[name]}" for name in sorted(headers)]
        lines += [f"/{self.account}{path}"]
        lines += [f"{name}:{query[name]}" for name in sorted(query)]
        signature = hmac.new(self.key, "\n".join(lines).encode(), hashlib.sha256).digest()
        headers["Authorization"] = (f"SharedKey {self.account}:"
                                    + base64.b64encode(signature).decode())
        connection = http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=60)
        try:
            connection.request(method, f"{path}?{urllib.parse.urlencode(query)}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def read(self, container):
        """{name: content}, with %XX in names as what it stands for; None without a container."""
        status, _, body = self.call("GET", f"/{container}", {"restype": "container", "comp": "list"})
        if status == 404:
            return None
        assert status == 200, body
        found = {}
        for name in xml.etree.ElementTree.fromstring(body).iter("Name"):
            status, headers, content = self.call("GET", f"/{container}/{name.text}")
            assert status == 200, (name.text, content)
            assert headers["x-ms-meta-sha256"] == hashlib.sha256(content).hexdigest()
            plain = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]),
                           name.text.encode())
            found[plain] = content
        return found

    def put(self, container, name, content):
        status, _, body = self.call("PUT", f"/{container}/{name}",
                                    headers={"x-ms-blob-type": "BlockBlob"}, body=content)
        assert status == 201, body

    def delete(self, container):
        self.call("DELETE", f"/{container}", {"restype": "container"})

    def commit(self, container):
        _, headers, _ = self.call("GET", f"/{container}", {"restype": "container"})
        return headers["x-ms-meta-commit"]


class Local:
    """A blob's file is its content, its name and 56 bytes of trailer."""

    def __init__(self, storage):
        self.folder = storage / "containers"

    def read(self, container):
        if not (self.folder / container / "info").exists():
            return None
        found = {}
        for path in (self.folder / container / "blobs").glob("??/*"):
            data = path.read_bytes()
            size = int.from_bytes(data[-48:-40], "little")
            content, name, digest = data[:size], data[size:-56], data[-32:]
            assert data[-56:-48] == b"SGBLOB1\n"
            assert hashlib.sha256(content).digest() == digest
            assert hashlib.sha256(name).hexdigest() == path.parent.name + path.name
            found[name] = content
        return found

    def delete(self, container):
        pass

    def commit(self, container):
        text = (self.folder / container / "info").read_text()
        return text.removeprefix("commit=").rstrip("\n")
