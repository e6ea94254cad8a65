"""blob_upload: a downloaded repository into a container, local and on Azure (Azurite)."""

import io
import json
import os
import secrets
import sys
import tarfile
import unittest
from pathlib import Path

import blobs
from faults import Proxy
from support import (EXAMPLE, EXAMPLE_TOTALS, Case, Manager, Worker, main, run, start_pair, temp_dir,
                     wait_until)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from git_server import GitServer  # pylint: disable=wrong-import-position

needs_azure = unittest.skipUnless(
    blobs.CONNECTION or os.environ.get("SEGUE_TEST_REQUIRE_ALL") == "1",
    "TEST_AZURE_STORAGE_CONNECTION_STRING is not set")
COMMIT = "5f0c" * 10
FILES = {
    b"README.md": b"# hello\n",
    b"readme.md": b"another file\n",
    b"empty": b"",
    b"src/main.c": b"int main(void) { return 0; }\n",
    b"src/.hidden/a b+c&d%41%zz": b"odd\n",
    b"back\\slash": b"one name, no folder\n",
    b"dot./trailing.": b"dots\n",
    b"line\nbreak": b"newline\n",
    b"\xff\xfe.bin": bytes(range(256)),
    b"caf\xc3\xa9": b"utf-8\n",
    b"x.part": b"no part of ours\n",
    b"large.bin": os.urandom(9 << 20),
}


def make_repository(manager, files=None, name="octo-My.Repo"):
    """What repo_download leaves -> its key and the folder. Names of folders are unique, so
    are those of containers."""
    files = FILES if files is None else files
    name = f"{name}-{secrets.token_hex(4)}"
    key = f"outputs/01890a5d-ac96-774b-bcce-{secrets.token_hex(6)}/1/{name}"
    folder = manager.storage / key
    folder.mkdir(parents=True)
    for path, content in files.items():
        place = os.path.join(os.fsencode(folder), path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as out:
            out.write(content)
    about = {"commit": COMMIT, "files": len(files), "bytes": sum(map(len, files.values()))}
    (folder.parent / f"{name}.json").write_text(json.dumps(about))
    return key, folder


def container_of(key):
    return key.rsplit("/", 1)[1].lower().replace(".", "-")


class Uploads:
    """On each kind of containers; the classes below say which."""

    def upload(self, key, state="DONE", **params):
        task_id = self.manager.submit("blob_upload", params={"repo_path": key, **params})
        self.manager.wait_status(task_id, state)
        task = self.manager.show(task_id)
        return task["result"] if state == "DONE" else task["error"]

    def forget(self, container):
        self.addCleanup(self.kept.delete, container)
        return container

    def test_every_file_becomes_a_blob_of_its_name(self):
        key, _ = make_repository(self.manager)
        box = self.forget(container_of(key))
        result = self.upload(key)
        size = sum(map(len, FILES.values()))
        self.assertEqual(result, {
            "status": "success", "message": "Container created and files uploaded.",
            "container_name": box, "existed": False, "commit": COMMIT, "files": len(FILES),
            "bytes": size, "sent_files": len(FILES), "sent_bytes": size, "stale": 0, "pruned": 0,
            "store": self.kind})
        self.assertEqual(self.kept.read(box), FILES)
        self.assertEqual(self.kept.commit(box), COMMIT)

    def test_only_what_has_changed_is_sent_again(self):
        key, folder = make_repository(self.manager)
        self.forget(container_of(key))
        self.upload(key)
        again = self.upload(key)
        self.assertEqual(again["message"], "Container already existed. Files overwritten.")
        self.assertEqual((again["existed"], again["files"], again["sent_files"]),
                         (True, len(FILES), 0))
        (folder / "README.md").write_bytes(b"# HELLO\n")
        changed = self.upload(key)
        self.assertEqual((changed["sent_files"], changed["sent_bytes"]), (1, 8))
        self.assertEqual(self.kept.read(container_of(key)), FILES | {b"README.md": b"# HELLO\n"})

    def test_blobs_without_a_file_are_counted_and_deleted_when_asked(self):
        first, _ = make_repository(self.manager, {b"old": b"1", b"both": b"2"})
        second, _ = make_repository(self.manager, {b"both": b"2", b"new": b"3"})
        box = self.forget(f"shared-{secrets.token_hex(4)}")
        self.upload(first, container=box)
        result = self.upload(second, container=box)
        self.assertEqual((result["stale"], result["pruned"], result["sent_files"]), (1, 0, 1))
        self.assertEqual(set(self.kept.read(box)), {b"old", b"both", b"new"})
        result = self.upload(second, container=box, prune=True)
        self.assertEqual((result["stale"], result["pruned"]), (1, 1))
        self.assertEqual(set(self.kept.read(box)), {b"both", b"new"})

    def test_an_empty_folder_makes_an_empty_container(self):
        key, _ = make_repository(self.manager, {})
        self.assertEqual(self.upload(key)["files"], 0)
        self.assertEqual(self.kept.read(self.forget(container_of(key))), {})

    def test_the_absolute_path_will_do(self):
        key, folder = make_repository(self.manager, {b"a": b"1"})
        result = self.upload(f"{folder}/")
        self.assertEqual(result["container_name"], self.forget(container_of(key)))

    def test_a_folder_that_lost_a_file_is_no_repository(self):
        key, folder = make_repository(self.manager, {b"a": b"1", b"b": b"2"})
        (folder / "a").unlink()
        error = self.upload(key, "FAILED")
        self.assertEqual((error["class"], error["code"]), ("input", "corrupt"))
        box = self.forget(container_of(key))
        self.assertRegex(self.kept.commit(box), "^created-")

    def test_links_are_not_followed(self):
        key, folder = make_repository(self.manager, {b"a": b"1"})
        (folder / "passwd").symlink_to("/etc/passwd")
        error = self.upload(key, "FAILED")
        self.assertEqual(error["code"], "bad_input")
        self.assertNotIn(b"passwd", self.kept.read(self.forget(container_of(key))))

    def test_nothing_else_of_the_store_can_be_uploaded(self):
        key, folder = make_repository(self.manager, {b"a": b"1"})
        for path in ("raw_data", "outputs", key + "/..", key + "/a", "/etc", "outputs/../..", ".",
                     "outputs//1/x", str(folder.parent), "outputs/none/1/none"):
            with self.subTest(path):
                error = self.upload(path, "FAILED")
                self.assertEqual(error["class"], "input")
                self.assertIn("there is no downloaded repository", error["message"])

    def test_bad_params_are_refused_at_once(self):
        for params in ({}, {"repo_path": ""}, {"repo_path": 1}, {"repo_path": "a", "x": 1},
                       {"repo_path": "a", "prune": "yes"}):
            with self.subTest(params):
                answer = self.manager.post("/v1/tasks", {"type": "blob_upload", "params": params})
                self.assertEqual(answer.status, 400, answer)
        key, _ = make_repository(self.manager, {b"a": b"1"})
        error = self.upload(key, "FAILED", container="No_Good")
        self.assertIn("No_Good", error["message"])
        error = self.upload(key, "FAILED", commit='a","x":"')
        self.assertIn("no name of a commit", error["message"])
        result = self.upload(key)  # nothing was made, and nothing sent
        self.forget(container_of(key))
        self.assertEqual((result["existed"], result["sent_files"]), (False, 1))


class Local(Uploads, Case):
    kind = "local"

    @classmethod
    def setUpClass(cls):
        cls.manager = start_pair(cls, slots=2)
        cls.kept = blobs.Local(cls.manager.storage)


@needs_azure
class OnAzure(Uploads, Case):
    kind = "azure"

    @classmethod
    def setUpClass(cls):
        cls.manager = start_pair(cls, slots=2, AZURE_STORAGE_CONNECTION_STRING=blobs.CONNECTION)
        cls.kept = blobs.Azure()

    def test_the_store_itself_stays_empty(self):
        self.assertEqual([key for key in self.manager.stored() if key.startswith("containers/")],
                         [])


@needs_azure
class AzureFaults(Case):
    def setUp(self):
        self.manager = Manager(self, LEASE="600ms").start()
        self.proxy = Proxy(self, blobs.endpoint())
        self.azure = blobs.Azure()

    def worker(self, connection=None):
        return Worker(self, self.manager,
                      AZURE_STORAGE_CONNECTION_STRING=connection or blobs.through(
                          blobs.CONNECTION, self.proxy.port)).start()

    def submit(self, key):
        self.addCleanup(self.azure.delete, container_of(key))
        return self.manager.submit("blob_upload", params={"repo_path": key})

    def test_a_wrong_key_fails_at_once_and_is_shown_nowhere(self):
        key, _ = make_repository(self.manager, {b"a": b"1"})
        wrong = "d3Jvbmcta2V5LXdyb25nLWtleS13cm9uZw=="
        worker = self.worker(blobs.CONNECTION.split("AccountKey=")[0] + f"AccountKey={wrong};"
                             f"BlobEndpoint={blobs.endpoint()}")
        task_id = self.submit(key)
        self.manager.wait_status(task_id, "FAILED")
        task = self.manager.show(task_id)
        self.assertEqual((task["error"]["class"], task["error"]["code"], task["attempt"]),
                         ("input", "refused", 1))
        self.assertIn("403", task["error"]["message"])
        for text in (json.dumps(task), self.manager.log(), worker.log()):
            self.assertNotIn(wrong, text)
            self.assertNotIn("SharedKey", text)

    def test_a_killed_worker_leaves_whole_blobs_and_the_next_goes_on(self):
        files = {b"%03d" % i: os.urandom(1000) for i in range(100)} | {b"last": b"z"}
        key, _ = make_repository(self.manager, files)
        box = container_of(key)
        self.proxy.trap("before", f"/{box}/last".encode(), 1000)  # never gets through
        worker = self.worker()
        task_id = self.submit(key)
        wait_until(lambda: len(self.azure.read(box) or ()) >= 20, "some blobs")
        worker.kill()
        kept = self.azure.read(box)
        for name, content in kept.items():
            self.assertEqual(content, files[name])
        self.assertEqual(self.azure.commit(box), f"created-{task_id}")
        self.proxy.trap("before", b"x", 0)
        self.worker()
        self.manager.wait_status(task_id, "DONE")
        result = self.manager.show(task_id)["result"]
        self.assertEqual(self.azure.read(box), files)
        self.assertEqual((result["existed"], result["files"]), (False, 101))
        self.assertLessEqual(result["sent_files"], 101 - len(kept))

    def test_a_server_that_hangs_up_is_asked_again(self):
        key, _ = make_repository(self.manager, {b"a": b"1"})
        self.proxy.trap("before", b"PUT ", 3)
        self.worker()
        task_id = self.submit(key)
        self.manager.wait_status(task_id, "DONE")
        self.assertEqual((self.proxy.sprung(), self.manager.show(task_id)["attempt"]), (3, 1))
        self.assertEqual(self.azure.read(container_of(key)), {b"a": b"1"})

    def test_a_cancel_ends_an_upload_that_hangs(self):
        key, _ = make_repository(self.manager, {b"a": b"1"})
        self.proxy.mode("pause")
        self.worker()
        task_id = self.submit(key)
        self.manager.wait_status(task_id, "PROCESSING")
        self.manager.call("DELETE", f"/v1/tasks/{task_id}")
        self.manager.wait_status(task_id, "CANCELLED")
        self.manager.wait_status(self.manager.submit(), "DONE")  # the slot is free again

    def test_a_connection_string_that_is_none_is_refused_at_the_start(self):
        for program in ("task_manager", "data_processor"):
            with self.subTest(program):
                done = run(program, "--check-config", cwd=self.manager.cwd,
                           AZURE_STORAGE_CONNECTION_STRING="AccountName=a;AccountKey=topsecret!")
                self.assertEqual(done.returncode, 2, done)
                self.assertIn(b"AZURE_STORAGE_CONNECTION_STRING", done.stderr)
                self.assertNotIn(b"topsecret", done.stderr + done.stdout)


@needs_azure
class WholeStore(Case):
    """STORAGE_URL=azure:CONTAINER: inputs and results are blobs, and no file is local."""

    def setUp(self):
        self.box = f"store-{secrets.token_hex(6)}"
        self.azure = blobs.Azure()
        self.addCleanup(self.azure.delete, self.box)

    def start(self):
        return start_pair(self, slots=1, STORAGE_URL=f"azure:{self.box}",
                          AZURE_STORAGE_CONNECTION_STRING=blobs.CONNECTION)

    def test_an_upload_becomes_totals_and_both_are_blobs(self):
        manager = self.start()
        task_id = manager.upload(EXAMPLE)
        manager.wait_status(task_id, "DONE")
        answer = manager.download(task_id)
        self.assertEqual((answer.status, answer.body), (200, EXAMPLE_TOTALS))
        task = manager.show(task_id)
        kept = self.azure.read(self.box)
        self.assertEqual(kept[task["file_input_path"].encode()], EXAMPLE)
        self.assertEqual(kept[task["file_output_path"].encode()], EXAMPLE_TOTALS)
        self.assertEqual(len(kept), 2)
        self.assertEqual(manager.get("/readyz").status, 200)

    def pack(self, files):
        """What repo_download leaves where the store is no folder -> its key and name."""
        out, name = io.BytesIO(), f"octo-repo-{secrets.token_hex(4)}"
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path, content in files.items():
                entry = tarfile.TarInfo(os.fsdecode(path))
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        key = f"processed_data/01890a5d-ac96-774b-bcce-b302099a8057/1/{name}.tar"
        self.addCleanup(self.azure.delete, name)
        return key, name, out.getvalue()

    def upload(self, manager, key, state="DONE", **params):
        task_id = manager.submit("blob_upload", params={"repo_path": key, **params})
        manager.wait_status(task_id, state)
        task = manager.show(task_id)
        return task["result"] if state == "DONE" else task["error"]

    def test_an_archive_is_a_repository_too(self):
        manager = self.start()
        files = FILES | {b"deep/" * 40 + b"name": b"long\n"}
        key, name, archive = self.pack(files)
        self.azure.put(self.box, key, archive)
        result = self.upload(manager, key, commit=COMMIT)
        self.assertEqual((result["container_name"], result["files"], result["sent_files"]),
                         (name, len(files), len(files)))
        self.assertEqual(self.azure.read(name), files)
        self.assertEqual(self.azure.commit(name), COMMIT)
        self.azure.put(name, "stale", b"x")
        again = self.upload(manager, key, prune=True)
        self.assertEqual((again["sent_files"], again["stale"], again["pruned"]), (0, 1, 1))
        self.assertEqual(self.azure.read(name), files)

    def test_a_damaged_archive_is_refused(self):
        manager = self.start()
        key, name, archive = self.pack({b"a": b"1" * 2000, b"caf\xc3\xa9": b"2"})
        for how, damaged in (("cut", archive[:1500]), ("empty", b""), ("none", b"x" * 2048),
                             ("header", archive[:100] + b"7" + archive[101:]),
                             ("record", archive.replace(b" path=", b"!path="))):
            with self.subTest(how):
                self.assertNotEqual(damaged, archive)
                self.azure.put(self.box, key, damaged)
                error = self.upload(manager, key, "FAILED")
                self.assertEqual((error["class"], error["code"]), ("input", "bad_input"))
        self.assertNotEqual(self.azure.read(name), None)

    def test_an_upload_larger_than_a_block_comes_through(self):
        manager = self.start()
        row = b"A song with a name that takes some room,2020-01-01,1\n"
        count = (5 << 20) // len(row)
        task_id = manager.upload(EXAMPLE + row * count)
        manager.wait_status(task_id, "DONE")
        self.assertIn(f"A song with a name that takes some room,2020-01-01,{count}\n".encode(),
                      manager.download(task_id).body)


class Download(Case):
    """The two steps one after the other: real git, and each kind of object store."""

    def run_both(self, **settings):
        server, name = GitServer(self, temp_dir(self)), f"Octo/Repo.{secrets.token_hex(4)}"
        commit = server.repository(name).fill(
            {path: content for path, content in FILES.items() if path != b"large.bin"}
            | {b"link": ("120000", b"/etc/passwd")})
        manager = start_pair(self, slots=1, ALLOW_NETWORKS="127.0.0.1",
                             REPO_HOSTS=f"http://127.0.0.1:{server.port}", **settings)
        task_id = manager.submit("repo_download", params={"repository": server.url(f"/{name}.git")})
        manager.wait_status(task_id, "DONE")
        found = manager.show(task_id)["result"]
        task_id = manager.submit("blob_upload", params={"repo_path": found["key"],
                                                        "commit": found["commit"]})
        manager.wait_status(task_id, "DONE")
        result = manager.show(task_id)["result"]
        box = name.lower().replace("/", "-").replace(".", "-")
        self.assertEqual((result["container_name"], result["commit"]), (box, commit))
        return manager, found["kind"], box

    def assert_holds(self, content):
        expected = {path: text for path, text in FILES.items() if path != b"large.bin"}
        self.assertEqual(content, expected | {b"link": b"/etc/passwd"})

    def test_a_folder_becomes_a_local_container(self):
        manager, kind, box = self.run_both()
        self.assertEqual(kind, "folder")
        self.assert_holds(blobs.Local(manager.storage).read(box))

    @needs_azure
    def test_an_archive_becomes_a_container_on_azure(self):
        azure, store = blobs.Azure(), f"store-{secrets.token_hex(6)}"
        self.addCleanup(azure.delete, store)
        _, kind, box = self.run_both(STORAGE_URL=f"azure:{store}",
                                     AZURE_STORAGE_CONNECTION_STRING=blobs.CONNECTION)
        self.addCleanup(azure.delete, box)
        self.assertEqual(kind, "tar")
        self.assert_holds(azure.read(box))


if __name__ == "__main__":
    main()
