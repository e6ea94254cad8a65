"""Daily totals as a Python script would add them up: python.py IN OUT."""

import csv
import sys

with open(sys.argv[1], newline="", encoding="utf-8") as lines:
    rows = csv.reader(lines)
    next(rows)
    totals = {}
    for song, date, plays in rows:
        key = song, date
        totals[key] = totals.get(key, 0) + int(plays)
with open(sys.argv[2], "w", newline="", encoding="utf-8") as out:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("Song", "Date", "Number of Plays"))
    writer.writerows((song, date, plays) for (song, date), plays in sorted(totals.items()))
