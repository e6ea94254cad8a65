"""What the benchmark prints: the facts of the machine and the tables, as Markdown."""

import os
import platform
import shlex
import statistics
import subprocess
import time

from report import cpu_name, load, memory, system_name, table  # of the CSV benchmark
from servers import REPO

SPREAD_MAX = 1.25
# Figure: its heading, how it is written, whether more is better.
FIGURES = {
    "submit": ("submit/s", "{:,.0f}", True),
    "finish": ("finished/s", "{:,.0f}", True),
    "p50": ("start p50 ms", "{:,.1f}", False),
    "p99": ("p99 ms", "{:,.1f}", False),
    "p999": ("p99.9 ms", "{:,.1f}", False),
    "max": ("max ms", "{:,.1f}", False),
    "cpu_ms": ("CPU ms/task", "{:.3f}", False),
    "memory_idle": ("MB idle", "{:,.0f}", False),
    "memory_busy": ("MB after", "{:,.0f}", False),
}
EXTRAS = {
    "bulk": ("bulk submit/s", "{:,.0f}"),
    "files": ("files/s", "{:,.0f}"),
    "end_p50": ("submit to DONE p50 ms", "{:,.1f}"),
    "end_p99": ("p99 ms", "{:,.1f}"),
    "generator_us": ("load generator: CPU us/request", "{:,.1f}"),
}
MEGABYTE = 1e6


def marks(part):
    return tuple(f"<!-- tests/bench/throughput/run {part}: {end} -->" for end in ("begin", "end"))


def fdatasync_ms(folder):
    """What a small durable write costs here: the floor under every commit."""
    path, times = folder / "fdatasync", []
    with open(path, "wb", buffering=0) as out:
        for _ in range(100):
            out.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(out.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return 1000 * statistics.median(times)


def commit():
    """The state of the tree that was measured."""
    if "SEGUE_BIN" in os.environ:
        return "not built from this tree"

    def git(*words):
        return subprocess.run(["git", "-C", str(REPO), *words], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "common", "data_processor", "task_manager")
        return git("rev-parse", "--short", "HEAD").strip() + (" with changes" if changed.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "no commit"


class Page:
    def __init__(self, words, args, folder):
        self.command = shlex.join(["tests/bench/throughput/run", *words])
        self.args = args
        self.parts = {}
        self.figures = {}
        self.failed = False
        self.start_load = load()
        self.fdatasync = fdatasync_ms(folder)
        self.day = time.strftime("%Y-%m-%d", time.gmtime())

    def facts(self):
        cores = len(os.sched_getaffinity(0))
        changes = [f"`{name}={value}`" for name, value in self.args.set]
        return [
            f"- Command: `{self.command}`, {self.day}, Segue at {commit()}",
            *([f"- Segue's settings differ from the defaults: {', '.join(changes)}"] if changes else []),
            f"- Machine: {cpu_name()}, {cores} cores, {memory('MemTotal') / 1e9:.0f} GB memory; {system_name()}, "
            f"Linux {platform.release()}; fdatasync of 4 KB {self.fdatasync:.2f} ms (median); load {self.start_load} at "
            f"the start, {load()} at the end",
        ]

    def add_part(self, name, lines, figures):
        self.parts[name] = [*self.facts(), "", *lines]
        self.figures[name] = figures

    def add_rounds(self, runs, failures, known):
        self.failed = bool(failures)
        self.figures["rounds"] = runs
        medians = {name: median_of(found) for name, found in runs.items() if found and name not in failures}
        lines = [*self.facts(), *settings_lines(runs, known), ""]
        lines += [f"{self.args.tasks:,} tasks a backlog, {self.args.rate} arrivals a second for {self.args.seconds} s, "
                  f"{rounds_text(self.args)}:", ""]
        if medians:
            lines += [*main_table(medians, known), *ratios(medians), *extras(medians)]
        lines += [""] + [f"- {name}: {text}" for name, text in failures.items()] if failures else []
        unsteady = [name for name, found in runs.items() if name in medians and spread(found) > SPREAD_MAX]
        if unsteady:
            lines += ["", f"Finished a second differs by more than {SPREAD_MAX - 1:.0%} between the rounds of "
                          f"{', '.join(unsteady)}: the machine was not quiet."]
        self.parts["main"] = lines

    def text(self):
        return "\n\n".join("\n".join(lines) for lines in self.parts.values())

    def write_into(self, path):
        """Replaces what stands between the marks of each part that was measured."""
        page = path.read_text(encoding="utf-8")
        for part, lines in self.parts.items():
            begin, end = marks(part)
            before, found_begin, rest = page.partition(begin)
            _, found_end, after = rest.partition(end)
            if not found_begin or not found_end:
                raise SystemExit(f"run: {path} lacks the lines {begin} and {end}")
            page = "\n".join([f"{before}{begin}", *lines, f"{end}{after}"])
        path.write_text(page, encoding="utf-8")


def rounds_text(args):
    return "one round" if args.rounds == 1 else f"medians of {args.rounds} rounds"


def median_of(found):
    names = [name for name, value in found[0].items() if isinstance(value, (int, float))]  # None: not there
    return {name: statistics.median(run[name] for run in found) for name in names}


def spread(found):
    finished = [run["finish"] for run in found]
    return max(finished) / min(finished)


def settings_lines(runs, known):
    lines = []
    for name, found in runs.items():
        if found:
            text = "; ".join([found[0]["version"], *found[0]["settings"]])
            lines.append(f"- {known[name].label} (`{name}`): {text}")
    return lines


def shown(figure, value):
    if value is None:
        return "-"
    return FIGURES[figure][1].format(value / MEGABYTE if figure.startswith("memory") else value)


def main_table(medians, known):
    rows = [["system", *(heading for heading, _, _ in FIGURES.values())]]
    for name, found in medians.items():
        rows.append([known[name].label, *(shown(figure, found.get(figure)) for figure in FIGURES)])
    return table(rows)


def ratios(medians):
    """How many times better Segue is than each other system; below 1, it is behind."""
    ours = [name for name in medians if name.startswith("segue")]
    others = [name for name in medians if not name.startswith("segue")]
    if not ours or not others:
        return []
    rows = [["how many times better", *(heading.removesuffix(" ms") for heading, _, _ in FIGURES.values())]]
    for one in ours:
        for other in others:
            cells = []
            for figure, (_, _, more) in FIGURES.items():
                mine, theirs = medians[one].get(figure), medians[other].get(figure)
                if not mine or not theirs:
                    cells.append("-")
                    continue
                factor = mine / theirs if more else theirs / mine
                cells.append(f"{factor:,.0f}x" if factor >= 100 else f"{factor:.3g}x")
            rows.append([f"{one} / {other}", *cells])
    return ["", *table(rows)]


def extras(medians):
    rows = [["Segue alone", *(heading for heading, _ in EXTRAS.values())]]
    for name, found in medians.items():
        if name.startswith("segue"):
            rows.append([name, *(form.format(found[figure]) if figure in found else "not there" for figure, (_, form) in EXTRAS.items())])
    return ["", *table(rows)] if len(rows) > 1 else []
