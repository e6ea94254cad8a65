"""What the benchmark prints: the facts of the machine and the tables, as Markdown."""

import os
import platform
import shlex
import statistics
import subprocess
import time
from pathlib import Path

from engines import OURS, REPO

SPREAD_MAX = 1.25
LIMIT_SLACK = 16_000_000  # what a process may take beside its --memory, see docs/csv.md


def fields_of(path):
    """The `name: value` lines of a file of /proc; of a name that repeats, the first."""
    found = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def memory(field):
    return int(fields_of("/proc/meminfo")[field].split()[0]) * 1024


def available_memory():
    return memory("MemAvailable")


def load():
    return f"{os.getloadavg()[0]:.1f}"


def cpu_name():
    facts = fields_of("/proc/cpuinfo")
    return facts.get("model name") or facts.get("CPU part") or platform.machine()


def system_name():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError, AttributeError):
        return platform.system()


def commit():
    """The state of the tree that was measured, where that is known."""

    def git(*words):
        return subprocess.run(["git", "-C", str(REPO), *words], capture_output=True, text=True, check=True).stdout

    if "SEGUE_BIN" in os.environ:
        return "not built from this tree"
    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "common", "data_processor")
        return git("rev-parse", "--short", "HEAD").strip() + (" with changes" if changed.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def count_lines(path):
    """Line ends in a file; titles of the benchmark hold none."""
    count = 0
    with open(path, "rb") as data:
        while chunk := data.read(1 << 20):
            count += chunk.count(b"\n")
    return count


def shorten(text, length=150):
    """One line of what a program said, fit for a table: the one that names the error, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no message"]
    named = [line for line in lines if "error" in line.lower() or "exception" in line.lower()]
    line = (named or lines[-1:])[0].replace("|", "/").replace("`", "'")
    return line if len(line) <= length else line[: length - 3] + "..."


def seconds(value):
    if value < 0.1:
        return f"{value * 1000:.1f} ms"
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"


def megabytes(count):
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 20e6 else f"{count / 1e6:,.0f} MB"


def table(rows):
    """Markdown with aligned columns; numbers, in all but the first, to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("| " + " | ".join(cells) + " |")
    marks = ["-" * (widths[0] + 2)] + ["-" * (width + 1) + ":" for width in widths[1:]]
    lines.insert(1, "|" + "|".join(marks) + "|")
    return lines


class Summary:
    """The runs of one engine on one shape as one number each."""

    def __init__(self, runs):
        walls = [run["wall"] for run in runs]
        self.count = len(runs)
        self.wall = statistics.median(walls)
        self.low, self.high = min(walls), max(walls)
        self.cpu = statistics.median(run["user"] + run["system"] for run in runs)
        self.peak = max(run["peak_kb"] for run in runs) * 1024


class Report:
    def __init__(self, words, args, versions):
        self.command = shlex.join(["tests/bench/csv/run", *words])
        self.args = args
        self.versions = versions
        self.shapes = []
        self.limited = None
        self.wrong = False
        self.start_load, self.end_load = load(), ""
        self.day = time.strftime("%Y-%m-%d", time.gmtime())

    def add(self, shape):
        shape["sums"] = {name: Summary(runs) for name, runs in shape["runs"].items()
                         if runs and name not in shape["failures"]}
        self.wrong |= any(text.startswith("WRONG") for text in shape["failures"].values())
        self.shapes.append(shape)

    def add_limited(self, limited):
        self.limited = limited
        peak = limited["runs"][-1]["sum"].peak
        self.wrong |= not limited["same"] or peak > limited["runs"][-1]["limit"] + LIMIT_SLACK

    def finish(self):
        self.end_load = load()

    def facts(self):
        cores = len(os.sched_getaffinity(0))
        state = commit()
        ours = self.versions[OURS] + (f" ({state})" if state else "")
        others = [text for name, text in self.versions.items() if name != OURS]
        return [
            f"- Command: `{self.command}`, {self.day}",
            f"- Machine: {cpu_name()}, {cores} cores, {memory('MemTotal') / 1e9:.0f} GB memory; {system_name()}, "
            f"Linux {platform.release()}; load {self.start_load} at the start, {self.end_load} at the end",
            f"- {'Engines' if others else 'Engine'}: {'; '.join([ours, *others])}",
        ]

    def overview(self):
        """How many times as long as ours each peer takes, and our share of DuckDB's memory."""
        peers = [name for name in self.versions if name != OURS]
        rows = [["shape", OURS, *peers, "memory / DuckDB"]]
        for shape in self.shapes:
            sums = shape["sums"]
            ours, duckdb = sums.get(OURS), sums.get("duckdb")
            cells = [shape["facts"]["name"], seconds(ours.wall) if ours else "failed"]
            cells += [f"{sums[name].wall / ours.wall:.1f}x" if ours and name in sums else "-" for name in peers]
            rows.append([*cells, f"{ours.peak / duckdb.peak:.2f}" if ours and duckdb else "-"])
        return table(rows)

    def detail(self, shape):
        facts, sums = shape["facts"], shape["sums"]
        ours = sums.get(OURS)
        lines = [
            f"### {facts['name']}: {facts['description']}",
            "",
            f"{facts['rows']:,} rows, {megabytes(facts['bytes_in'])} in; {facts['totals']:,} totals, "
            f"{megabytes(facts['bytes_out'])} out",
            "",
        ]
        rows = [["engine", "median", "fastest - slowest", "runs", "/ ours", "CPU", "peak memory"]]
        notes = []
        for name in shape["runs"]:
            found = sums.get(name)
            if not found:
                rows.append([name, "wrong" if shape["failures"][name].startswith("WRONG") else "failed", "", str(len(shape["runs"][name])), "", "", ""])
                notes.append(f"- {name}: {shape['failures'][name]}")
                continue
            rows.append([
                name, seconds(found.wall), f"{seconds(found.low)} - {seconds(found.high)}", str(found.count),
                f"{found.wall / ours.wall:.2f}" if ours else "", seconds(found.cpu), megabytes(found.peak)])
        lines += table(rows)
        return lines + ([""] + notes if notes else [])

    def limited_text(self):
        facts = self.limited["facts"]
        rows = [["--memory", "median", "CPU", "peak memory", "limit + 16 MB", "runs spilled"]]
        for run in self.limited["runs"]:
            found = run["sum"]
            rows.append([f"{run['limit'] >> 20}M", seconds(found.wall), seconds(found.cpu), megabytes(found.peak),
                         megabytes(run["limit"] + LIMIT_SLACK), f"{run['spilled']:,}"])
        return [
            f"{facts['rows']:,} rows of shape B, {megabytes(facts['bytes_in'])} in; {facts['totals']:,} totals, "
            f"{megabytes(facts['bytes_out'])} out. "
            + ("The results are the same bytes." if self.limited["same"] else "**The results DIFFER.**"),
            "", *table(rows)]

    def part(self):
        """The name of the part of docs/benchmarks.md that this text belongs to."""
        return "tests/bench/csv/run" + (" --memory-limit" if self.limited else "")

    def text(self):
        if self.limited:
            return "\n".join([*self.facts(), "", *self.limited_text()])
        lines = [*self.facts(), "", f"Seconds of `{OURS}`, and how many times as long the others take:", ""]
        lines += self.overview()
        unsteady = [shape["facts"]["name"] for shape in self.shapes
                    if OURS in shape["sums"] and shape["sums"][OURS].high > SPREAD_MAX * shape["sums"][OURS].low]
        if unsteady:
            lines += ["", f"Our runs on {', '.join(unsteady)} are more than {SPREAD_MAX - 1:.0%} apart: the machine "
                          "was not quiet."]
        for shape in self.shapes:
            lines += ["", *self.detail(shape)]
        return "\n".join(lines)


def write_into(page, part, text):
    """Replaces what stands between the two marks of that part of the page."""
    begin_mark, end_mark = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    old = page.read_text(encoding="utf-8")
    before, begin, rest = old.partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise SystemExit(f"run: {page} lacks the lines {begin_mark} and {end_mark}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
