#!/usr/bin/env python3
"""Do three readers that are not ours find in our Parquet files what was put in, cell by cell?

  test_readers.py PROGRAM [--cases NAME,...] [--seeds FIRST-LAST] [--keep]

PROGRAM is parquet_cases. Every case is written with one thread and with several, which must give
the same bytes, and read by DuckDB, polars and hyparquet. `random` is written once for every seed.
Prints a table; exits with 1 if anything differs, 77 (skipped) if the readers cannot be installed,
unless SEGUE_TEST_REQUIRE_ALL is set.
"""

import argparse
import filecmp
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
    parser.add_argument("program")
    parser.add_argument("--cases", help="all, if not named")
    parser.add_argument("--seeds", type=seeds, default=range(1, 26))
    parser.add_argument("--keep", action="store_true", help="keep the files of what differs")
    return parser.parse_args()


class Check:
    def __init__(self, program, folder):
        self.program = program
        self.folder = folder
        self.failures = []

    def write(self, case, seed, name, *more):
        file, expected = self.folder / f"{name}.parquet", self.folder / f"{name}.expected"
        readers.quietly([self.program, case, str(seed), file, expected, *more])
        return file, expected

    def one(self, case, seed):
        """Writes, reads and compares; returns a row of the table."""
        name = f"{case}-{seed}"
        file, expected = self.write(case, seed, name)
        again, _ = self.write(case, seed, f"{name}-threads", "4")
        cells = [name, f"{file.stat().st_size:,}"]
        if not filecmp.cmp(file, again, shallow=False):
            self.failures.append(f"{name}: other bytes with four threads")
        for reader in readers.READERS:
            found, start = self.folder / f"{name}.{reader}", time.monotonic()
            try:
                readers.read(reader, file, found)
                problem = readers.difference(found, expected)
            except (Failed, subprocess.TimeoutExpired) as error:
                problem = str(error)
            if problem:
                self.failures.append(f"{name}: {reader}: {problem}")
            cells.append("DIFFERS" if problem else f"same ({time.monotonic() - start:.1f} s)")
        if not any(text.startswith(name + ":") for text in self.failures):
            for path in self.folder.glob(f"{name}[.-]*"):
                path.unlink()
        return cells


def run(args, folder):
    check = Check(args.program, folder)
    known = subprocess.run([args.program, "list"], capture_output=True, text=True, check=True).stdout.split()
    print("\t".join(["case", "bytes", *readers.READERS]))
    for case in args.cases.split(",") if args.cases else known:
        for seed in args.seeds if case == "random" else [1]:
            print("\t".join(check.one(case, seed)), flush=True)
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
