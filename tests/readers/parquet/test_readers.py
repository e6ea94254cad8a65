#!/usr/bin/env python3
"""Do three readers that are not ours find in our Parquet files what was put in, cell by cell?

  test_readers.py PROGRAMS [--cases NAME,...] [--seeds FIRST-LAST] [--keep]

PROGRAMS is the folder with parquet_cases and parquet_exports. Every case of the first is written
with one thread and with several, which must give the same bytes; `random` is written once for
every seed. `export-…` are containers that the job parquet_export makes files of. All are read by
DuckDB, polars and hyparquet. Prints a table; exits with 1 if anything differs, 77 (skipped) if the readers cannot be installed,
unless SEGUE_TEST_REQUIRE_ALL is set.
"""

import argparse
import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import readers
from readers import Failed

SKIPPED = 77


def seeds(text):
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--cases", help="all, if not named")
    parser.add_argument("--seeds", type=seeds, default=range(1, 26))
    parser.add_argument("--keep", action="store_true", help="keep the files of what differs")
    return parser.parse_args()


class Check:
    def __init__(self, programs, folder):
        self.programs = programs
        self.folder = folder
        self.failures = []

    def fail(self, name, text):
        self.failures.append(f"{name}: {text}")

    def compare(self, name, files, expected):
        """Reads the files, one after the other, with each reader; returns a row of the table."""
        cells = [name, str(len(files)), f"{sum(file.stat().st_size for file in files):,}"]
        for reader in readers.READERS:
            found, start = self.folder / f"{name}.{reader}", time.monotonic()
            try:
                readers.read(reader, files, found)
                problem = readers.difference(found, expected)
            except (Failed, subprocess.TimeoutExpired) as error:
                problem = str(error)
            if problem:
                self.fail(name, f"{reader}: {problem}")
            cells.append("DIFFERS" if problem else f"same ({time.monotonic() - start:.1f} s)")
        return cells

    def forget(self, name):
        if any(text.startswith(name + ":") for text in self.failures):
            return
        for path in self.folder.glob(f"{name}[.-]*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def case(self, case, seed):
        name = f"{case}-{seed}"
        file, again = self.folder / f"{name}.parquet", self.folder / f"{name}-threads.parquet"
        expected = self.folder / f"{name}.expected"
        for path, threads in ((again, "4"), (file, "1")):
            readers.quietly([self.programs / "parquet_cases", case, str(seed), path, expected, threads])
        if not filecmp.cmp(file, again, shallow=False):
            self.fail(name, "other bytes with four threads")
        cells = self.compare(name, [file], expected)
        self.forget(name)
        return cells

    def export(self, which, mode):
        """A container through the job; the manifest must list exactly the files that are there."""
        name = f"export-{which}-{mode}"
        store, expected = self.folder / f"{name}.store", self.folder / f"{name}.expected"
        said = readers.quietly([self.programs / "parquet_exports", which, mode, store, expected])
        output, result = said.splitlines()[0], json.loads(said.splitlines()[1])
        manifest = store / result["manifest"]["key"]
        listed = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
        files = [store / line["key"] for line in listed]
        there = set((store / result["folder"]).iterdir()) - {manifest}
        if set(files) != there or Path(output) not in there | {manifest}:
            self.fail(name, f"the manifest lists {sorted(files)}, there are {sorted(there)}")
        for file, line in zip(files, listed):
            if hashlib.sha256(file.read_bytes()).hexdigest() != line["sha256"] or file.stat().st_size != line["bytes"]:
                self.fail(name, f"{file.name} is not what the manifest says")
        if result["parts"] != listed[:len(result["parts"])] or sum(line["rows"] for line in listed) != result["rows"]:
            self.fail(name, "the result and the manifest differ")
        if result["parquet_path"] != (listed[-1]["key"] if mode == "single" else None):
            self.fail(name, f"parquet_path is {result['parquet_path']}")
        cells = self.compare(name, files, expected)
        self.forget(name)
        return cells


def todo(check, args):
    """What there is to check: pairs of a name and a function."""

    def names(program):
        return readers.quietly([args.programs / program, "list"]).split()

    for case in names("parquet_cases"):
        for seed in args.seeds if case == "random" else [1]:
            yield case, lambda case=case, seed=seed: check.case(case, seed)
    for which in names("parquet_exports"):
        for mode in ("single", "blobs"):
            if which != "small" or mode == "single":
                yield f"export-{which}", lambda which=which, mode=mode: check.export(which, mode)


def run(args, folder):
    check = Check(args.programs, folder)
    wanted = args.cases.split(",") if args.cases else None
    print("\t".join(["case", "files", "bytes", *readers.READERS]))
    for name, look in todo(check, args):
        if wanted is None or name in wanted:
            print("\t".join(look()), flush=True)
    for text in check.failures:
        print(text)
    return 1 if check.failures else 0


def main():
    args = arguments()
    try:
        readers.fetch()
    except Failed as error:
        print(f"the readers cannot be installed: {error}")
        return 1 if os.environ.get("SEGUE_TEST_REQUIRE_ALL") else SKIPPED
    folder = Path(tempfile.mkdtemp(prefix="segue-parquet."))
    code = 1
    try:
        code = run(args, folder)
    finally:
        if code and args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
