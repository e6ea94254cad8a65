"""The three readers: how they are fetched and started."""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
FOLDER = REPO / "build/parquet-readers"
READERS = ("duckdb", "polars", "hyparquet")


class Failed(Exception):
    """Said to the user as it is."""


def quietly(command, **options):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    except OSError as error:
        raise Failed(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def fetch():
    """Installs what package-lock.json names into build/parquet-readers, once."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package-lock.json").read_text(encoding="utf-8")
    mark = FOLDER / "installed"
    with open(FOLDER / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several tests may want them at once
        if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
            return
        if not shutil.which("npm"):
            raise Failed("there is no npm; scripts/packages.sh test installs it")
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, FOLDER / name)
        print("fetching the npm packages (186 MB unpacked)", file=sys.stderr, flush=True)
        forced = [] if platform.machine() == "x86_64" else ["--force"]
        quietly(["npm", "install", "--no-audit", "--no-fund", *forced], cwd=FOLDER)
        mark.write_text(wanted, encoding="utf-8")


def read(reader, sources, target):
    """Writes the rows of the Parquet files, one after the other, as lines as expect.h tells."""
    environment = dict(os.environ, READERS=str(FOLDER))
    quietly(["node", "--max-old-space-size=6000", HERE / f"read_{reader}.mjs", target, *sources], env=environment,
            timeout=900)


def difference(found, expected):
    """The first row in which two files of lines differ, in words; None if they are the same."""
    with open(found, "rb") as ours, open(expected, "rb") as theirs:
        number = 0
        while True:
            one, two = ours.readline(), theirs.readline()
            if one == two:
                if not one:
                    return None
                number += 1
                continue
            if not one or not two:
                return f"{'less' if not one else 'more'} rows than the {number} that are the same"
            cells = zip(one.rstrip(b"\n").split(b"\t"), two.rstrip(b"\n").split(b"\t"))
            for column, (cell, wanted) in enumerate(cells):
                if cell != wanted:
                    return f"row {number}, column {column}: {cell[:100]!r} instead of {wanted[:100]!r}"
            return f"row {number} has another number of cells"
