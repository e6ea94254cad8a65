#!/usr/bin/env python3
"""The engine against oracle.py on generated files that a stranger may send.

  differential.py PROGRAM [--count N] [--seed N] [--first N]

PROGRAM is test_aggregate. Every file is read at 1, 2 and 7 threads (every fourth at 64 too),
failing at the first bad row and skipping bad rows, each time with a scanner, block size,
memory, merge fan-in, compression and way of arriving picked anew: all must come to the bytes
of the contract. Some files are damaged after they were compressed: of these all must say the
same. What must have been reached along the way (spilling, several merge passes, every scanner
at every thread count) is counted and asserted.

A run without --seed picks one and prints it; a difference is repeated by
--seed S --first I --count 1. A long run by hand: --count 50000.
"""
import argparse
import collections
import random
import subprocess
import sys

import oracle

SONGS = [b"a", b"b", b"Umbrella", b"In The End", b"In The Ends", b"\xc3\xa9t\xc3\xa9",
         b"\xf0\x9f\x8e\xb5", b'"a,b"', b'"a""b"', b'"x\ny"', b'"x\r\ny"', b'"x\ry\r"', b'" "',
         b'5" disc', b'a"b', b'"q"', b'""""', b'","', b" lead", b"trail ", b"=1+1", b"aaaaaaaa",
         b"aaaaaaaab", b"aaaaaaaaa", b"a" * 70, b'"' + b"n\n" * 30 + b'"']
BAD_SONGS = [b"", b'""', b"a\0b", b'"\0"', b"caf\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xff",
             b"\xf4\x90\x80\x80", b"\xe2\x82", b'"a"b', b'"a" ', b'""a', b'"open', b"z" * 170,
             b'"' + b"\r\n,\n" * 60 + b'"']
DATES = [b"2024-02-29", b"2024-01-01", b"0001-01-01", b"9999-12-31", b'"2023-12-31"',
         b"2000-02-29", b"2023-02-28"]
BAD_DATES = [b"2023-02-29", b"0000-00-00", b"24-01-01", b"2024-1-1", b"2024-13-01", b"",
             b"2024-04-31", b"1900-02-29", b" 2024-01-01", b"2024-01-01 ", b"2024/01/01",
             b"20240101", b"2024-00-10", b"2024-01-00", b"0000-01-01", b'"2024""-01"', b"10000-01-01"]
PLAYS = [b"0", b"1", b"7", b"250", b"007", b'"12"', b"18446744073709551615",
         b"18446744073709551616", b"0" * 100 + b"5", b"99999999999999999999",
         b"9999999999999999999"]
BAD_PLAYS = [b"", b"-1", b"+1", b"1.0", b"1,000", b'"1,000"', b" 1", b"1 ", b"1e3", b"9" * 100,
             b"340282366920938463463374607431768211456", b"x", b"0x1", b"\xd9\xa1", b'"1""2"']
HUGE = b"340282366920938463463374607431768211455"
HEADERS = [b"Song,Date,Number of Plays", b"song, DATE ,number of plays",
           b'"Song","Date","Number of Plays"', b"Date,Number of Plays,Song",
           b"id,Number of Plays,Song,note,Date", b'"x\ny",Song,Date,Number of Plays,"a,""b"']
BAD_HEADERS = [b"Song,Date", b"Song,Date,Number of Plays,song", b"Song;Date;Number of Plays",
               b'"Song"x,Date,Number of Plays', b'"Song,Date,Number of Plays', b"a,b,c"]


def hostile(rng):
    """A random file that a stranger may send."""
    out = bytearray(rng.choice([b"", b"", b"\xef\xbb\xbf"]))
    ends = rng.choice([[b"\n"], [b"\r\n"], [b"\r"], [b"\n", b"\r\n", b"\r", b"\n\n", b"\r\r\n"]])
    badness = rng.choice([0, 0, 0.02, 0.3])
    if rng.random() < 0.1:
        out += rng.choice(ends)
    header = rng.choice(BAD_HEADERS if rng.random() < 0.05 else HEADERS)
    names = [name.strip(b' "').lower() for name in header.split(b",")]
    out += header
    for _ in range(rng.choice([0, 1, 3, 20, 100, 300])):
        out += rng.choice(ends)
        row = []
        for name in names:
            bad = rng.random() < badness / 2
            if name == b"song":
                row.append(rng.choice(BAD_SONGS if bad else SONGS))
            elif name == b"date":
                row.append(rng.choice(BAD_DATES if bad else DATES))
            elif name == b"number of plays":
                huge = rng.random() < 0.001
                row.append(HUGE if huge else rng.choice(BAD_PLAYS if bad else PLAYS))
            else:
                row.append(rng.choice([b"", b"x", b'"y,\n"', b'a"', b"\xff", b"\0"]))
        if rng.random() < badness / 4:
            row = rng.choice([row[:-1], row + [b"extra"], [b""], [b" "], [b'"'], [b'""']])
        out += b",".join(row)
    if rng.random() < 0.7:
        out += rng.choice(ends)
    if rng.random() < 0.15 and out:
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(out))
            out[at:at + rng.randint(0, 2)] = rng.choice(
                [b'"', b"\r", b"\n", b",", b"\0", b"\xff", b"", b'""', b"\r\n"])
    return bytes(out)


class Engine:
    """`test_aggregate serve`: see aggregate_main.c."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "serve"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.scanners = self.process.stdout.readline().decode().split()

    def ask(self, plan, data):
        """(code, output, rejects, error), runs that were spilled"""
        to, out = self.process.stdin, self.process.stdout
        to.write(b"%s %d\n" % (" ".join(map(str, plan)).encode(), len(data)) + data)
        to.flush()
        line = out.readline()
        if not line:
            raise RuntimeError(f"the engine ended: {self.process.wait()}")
        code, runs, *lengths = map(int, line.split())
        return (code, *(out.read(length) for length in lengths)), runs


ROW_MAX = 160
THREADS = [1, 2, 7, 64]
Plan = collections.namedtuple(
    "Plan", "threads block table run_buffer merge fan_in row_max skip scanner pipe packing lost flipped")
CHOICES = {
    "block": [3, 16, 17, 31, 64, 65, 100, 129, 1000, 65536],
    "table": [1, 1, 3000, 10000, 40000, 1 << 20, 1 << 23],
    "run_buffer": [1] + [20, 64, 4096] * 3,
    "merge": [1, 4096, 1 << 20],
    "fan_in": [2, 3, 100],
    "pipe": [0, 0, 0, 1, 50],
    "packing": [0, 0, 0, 1, 2],
}


def plans(rng, engine, threads, **fixed):
    for skip in 0, 1:
        for count in threads:
            choice = {name: rng.choice(of) for name, of in CHOICES.items()}
            choice.update(threads=count, row_max=ROW_MAX, skip=skip, lost=0, flipped=0,
                          scanner=rng.randrange(len(engine.scanners)))
            choice.update(fixed)
            yield Plan(**choice)


def expected(data, skip):
    try:
        return 0, *oracle.aggregate(data, skip), b""
    except oracle.BadInput as error:
        return 1, b"", b"", error.args[0]


def differs(data, plan, due, got):
    for name, value in (("plan", plan), ("input", data), ("due", due), ("got", got)):
        print(f"{name + ':':8}{value!r}")
    return False


class Coverage:
    """What was reached; a comparison that never spills would be easy to pass."""

    def __init__(self, engine):
        self.engine = engine
        self.seen = collections.Counter()

    def note(self, plan, runs, code):
        self.seen["runs"] += 1
        for name, reached in (("spilled", runs > 0), ("merged twice", runs > plan.fan_in),
                              ("merged many at once", min(runs, plan.fan_in) > 10 and
                               plan.merge == 1 << 20),
                              ("a block of a few bytes", plan.block <= 17),
                              ("gzip", plan.packing == 1), ("zstd", plan.packing == 2),
                              ("a pipe", plan.pipe > 0), ("bad input", code == 1),
                              (self.engine.scanners[plan.scanner], True)):
            self.seen[name, plan.threads] += reached

    def missing(self):
        return [what for what, count in self.seen.items() if count == 0]

    def show(self):
        print(f"{self.seen['runs']} runs; at", ", ".join(map(str, THREADS)), "threads:")
        for name in dict.fromkeys(what[0] for what in self.seen if what != "runs"):
            print(f"  {name}:", ", ".join(str(self.seen[name, n]) for n in THREADS))


def compare_good(engine, coverage, rng, data, threads):
    outcomes = [expected(data, skip) for skip in (False, True)]
    for plan in plans(rng, engine, threads):
        due = outcomes[plan.skip]
        got, runs = engine.ask(plan, data)
        coverage.note(plan, runs, got[0])
        if not plan.skip:
            got = (*got[:2], due[2], got[3])
        if got != due:
            return differs(data, plan, due, got)
    return True


def compare_damaged(engine, rng, data):
    """Cut off or with a bit turned over: what that makes of it is the same for all."""
    first = {}
    damage = {"packing": rng.choice([1, 2]), "lost": 0, "flipped": 0}
    damage[rng.choice(["lost", "flipped"])] = 1 + rng.randrange(1 << 30)
    for plan in plans(rng, engine, [1, 2, 7], **damage):
        got, _ = engine.ask(plan, data)
        due = first.setdefault(plan.skip, got)
        if got != due:
            return differs(data, plan, due, got)
    return True


def compare(engine, coverage, seed, number):
    rng = random.Random(f"{seed} {number}")
    data = hostile(rng)
    threads = THREADS if number % 4 == 0 else THREADS[:-1]
    return compare_good(engine, coverage, rng, data, threads) and (
        number % 8 != 0 or compare_damaged(engine, rng, data))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=2000, help="files (2000)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--first", type=int, default=0, help="number of the first file (0)")
    args = parser.parse_args()
    oracle.ROW_MAX = ROW_MAX
    engine = Engine(args.program)
    coverage = Coverage(engine)
    print(f"{args.count} hostile files from {args.first} on, seed {args.seed}", flush=True)
    for number in range(args.first, args.first + args.count):
        if not compare(engine, coverage, args.seed, number):
            print(f"file {number} of seed {args.seed} differs")
            return 1
        if (number + 1 - args.first) % 10000 == 0:
            print(f"{number + 1 - args.first} files the same", flush=True)
    coverage.show()
    engine.process.stdin.close()
    if engine.process.wait() != 0:
        return 1
    if args.count >= 1000 and coverage.missing():
        print("never reached:", coverage.missing())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
