"""The engines of the benchmark: how each is fetched, named and started, and its result made comparable."""

import csv
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
MODULES = REPO / "build/bench-csv/node_modules"
OURS = "data_processor"


class Failed(Exception):
    """Something does not work here; the text goes into the table."""


class Engine:
    """A way to add up plays: argv(input, output) as a whole process.

    output is written by the process itself, or is its standard output where to_stdout is set.
    """

    def __init__(self, name, argv, version, to_stdout=False):
        self.name = name
        self.argv = argv
        self.version = version
        self.to_stdout = to_stdout


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split("\n")[0]


def node(name, package, label):
    script = str(HERE / "peers" / f"{name}.js")

    def version():
        found = json.loads((MODULES / package / "package.json").read_text(encoding="utf-8"))["version"]
        return f"{label} {found}"

    return Engine(name, lambda source, target: ["node", script, source, target], version)


def miller(source, _target):
    return [
        *("mlr", "--icsv", "--ocsv", "--from", source),
        *("stats1", "-a", "sum", "-f", "Number of Plays", "-g", "Song,Date", "then"),
        *("rename", "Number of Plays_sum,Number of Plays", "then", "sort", "-f", "Song,Date"),
    ]


PEERS = [
    node("duckdb", "@duckdb/node-api", "DuckDB"),
    node("polars", "nodejs-polars", "polars"),
    node("chdb", "chdb", "chDB"),
    Engine("miller", miller, lambda: "Miller " + first_line("mlr", "--version").split()[-1], to_stdout=True),
    Engine(
        "python",
        lambda source, target: [sys.executable, str(HERE / "peers/python.py"), source, target],
        lambda: f"Python {platform.python_version()} csv",
    ),
]


def ours(*options):
    folder = Path(os.environ.get("SEGUE_BIN", REPO / "build/bin"))
    program = str(folder / OURS)
    return Engine(
        OURS,
        lambda source, target: [program, "aggregate", source, target, *options],
        lambda: first_line(program, "--version"),
    )


def quietly(what, command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-3000:] + done.stderr[-3000:])
        raise Failed(f"{what} failed: {' '.join(map(str, command))}")


def build():
    """Builds our program (not if SEGUE_BIN names a folder with one) and the two tools; returns their folder."""
    if any(not shutil.which(tool) for tool in ("cmake", "ninja")):
        quietly("installing packages", [REPO / "scripts/packages.sh", "build"])
    targets = ["bench_csv_data", "bench_csv_measure"] + ([] if "SEGUE_BIN" in os.environ else [OURS])
    quietly("cmake", ["cmake", "--preset", "release", "-DSEGUE_TESTS=ON"], cwd=REPO)
    quietly("the build", ["cmake", "--build", "build", "--target", *targets], cwd=REPO)
    return REPO / "build/bin"


def fetch(peers):
    """Installs what the peers need: Debian packages, and npm packages of the lock file in build/bench-csv."""
    if any(not shutil.which(tool) for tool in ("mlr", "npm", "node")):
        try:
            quietly("installing packages", [REPO / "scripts/packages.sh", "bench"])
        except Failed as error:
            print(f"{error}; going on without", file=sys.stderr)
    if any(peer.argv("", "")[0] == "node" for peer in peers) and shutil.which("npm"):
        fetch_npm()


def fetch_npm():
    """npm install and not npm ci: the lock file holds x86-64, other machines add their native packages."""
    folder = MODULES.parent
    done = folder / "installed"
    wanted = (HERE / "package-lock.json").read_text(encoding="utf-8")
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, folder / name)
    print("fetching the npm packages (616 MB unpacked)", file=sys.stderr)
    forced = [] if platform.machine() == "x86_64" else ["--force"]
    try:
        quietly("npm", ["npm", "install", "--no-audit", "--no-fund", *forced], cwd=folder)
        done.write_text(wanted, encoding="utf-8")
    except Failed as error:
        print(f"{error}; going on without", file=sys.stderr)


class Digest:
    """A file that is only hashed."""

    def __init__(self):
        self.sha = hashlib.sha256()

    def write(self, text):
        self.sha.update(text.encode("latin-1"))


def raw_digest(path):
    sha = hashlib.sha256()
    with open(path, "rb") as data:
        while chunk := data.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def normal_digest(path):
    """The digest with quotes only where they are needed; order and everything else must be right already."""
    digest = Digest()
    with open(path, newline="", encoding="latin-1") as data:
        csv.writer(digest, lineterminator="\n").writerows(csv.reader(data))
    return digest.sha.hexdigest()


def first_difference(path, reference):
    """In words, for two files that are known to differ."""
    with open(path, newline="", encoding="latin-1") as one, open(reference, newline="", encoding="latin-1") as two:
        number = 0
        for number, (row, wanted) in enumerate(zip(csv.reader(one), csv.reader(two)), 1):
            if row != wanted:
                return f"row {number} is {str(row)[:120]} and not {str(wanted)[:120]}"
    return f"another number of rows, the same {number} at the start"
