#!/usr/bin/env python3
"""repository_client.py - walks a code repository through the three repository services: it is
downloaded, put into a container of blobs, and written as Parquet. Three POSTs, each fed by the
answer to the last.

    repository_client.py https://github.com/owner/name.git [--token TOKEN]
        [--download URL] [--upload URL] [--transform URL]

The services are one Segue, which may listen on several addresses
(LISTEN=127.0.0.1:5001,127.0.0.1:5002,127.0.0.1:5003); any of them answers every call. Needs nothing
but Python. Exits 0 when all three steps worked, 1 when one did not, 2 for wrong usage.
"""

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request


class Failed(Exception):
    """A step that did not work; says which and why."""


def post(url, data=None):
    """One POST, `data` as JSON if there is any -> the answer's JSON."""
    body = json.dumps(data).encode() if data is not None else b""
    headers = {"Content-Type": "application/json"} if data is not None else {}
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise Failed(f"Connection error: {error.code}\n{error.read().decode()}") from error
    except urllib.error.URLError as error:
        raise Failed(f"{url}: {error.reason}") from error


def taken(answer, name):
    """What the next step needs of an answer. A 200 may tell of a failure, too."""
    if not answer.get(name):
        raise Failed(answer.get("error") or answer.get("message") or json.dumps(answer))
    return answer[name]


def download(base, repository, token):
    answer = post(f"{base}/v1/download_repository", {"repository": repository, "token": token})
    path = taken(answer, "path")
    print(f"Repository downloaded to {path}", flush=True)
    return path


def upload(base, path):
    query = urllib.parse.urlencode({"repo_path": path})
    answer = post(f"{base}/v2/repo/upload?{query}")
    container = taken(answer, "container_name")
    print(json.dumps(answer), flush=True)
    print(f"Repository uploaded to container {container}", flush=True)
    return container


def transform(base, container):
    answer = post(f"{base}/v3/transform-container-to-parquet",
                  {"container_name": container, "single_parquet": True})
    path = taken(answer, "parquet_path")
    print(answer["message"], flush=True)
    print(f"Parquet: {path}", flush=True)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository")
    parser.add_argument("--token", default="", help="empty: a public repository")
    parser.add_argument("--download", default="http://localhost:5001", metavar="URL")
    parser.add_argument("--upload", default="http://localhost:5002", metavar="URL")
    parser.add_argument("--transform", default="http://localhost:5003", metavar="URL")
    a = parser.parse_args()
    try:
        transform(a.transform, upload(a.upload, download(a.download, a.repository, a.token)))
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
