#!/usr/bin/env python3
"""A second implementation of docs/csv.md, to compare the engine with.

It is written from the contract and shares no idea with the C code: it holds the file in
memory and walks it byte by byte.

  oracle.py golden DIR   do the expected files of DIR say what the contract says?
  oracle.py write DIR    write expected files that are missing (then read them!)

differential.py asks it about generated files.
"""
import calendar
import os
import sys

ROW_MAX = 4 * 1024 * 1024
LIMIT = 2**128 - 1
NAMES = [b"Song", b"Date", b"Number of Plays"]
ENDINGS = [".expected.csv", ".expected.error", ".skip.expected.csv", ".skip.expected.error",
           ".rejects.csv"]
SENTENCES = {
    "row_too_long": "the row is longer than 4 MiB",
    "open_quote": "a quote is still open at the end of the file",
    "text_after_quote": "text follows a closing quote",
    "field_count": "wrong number of fields",
    "empty_song": "the name is empty",
    "nul_byte": "the name holds a NUL byte",
    "bad_utf8": "the name is not valid UTF-8",
    "bad_date": "not a calendar day in the form YYYY-MM-DD",
    "bad_plays": "not a whole number written in digits only",
    "plays_too_big": "larger than 2^128 - 1",
}


class BadInput(Exception):
    pass


def excerpt(data):
    """Printable, at most 80 bytes, '...' when cut."""
    out, at = b"", 0
    while at < len(data):
        char = None
        for length in (1, 2, 3, 4):
            try:
                char = data[at:at + length].decode("utf-8")
                break
            except UnicodeDecodeError:
                pass
        step = 1
        if char == "\n":
            piece = b"\\n"
        elif char == "\r":
            piece = b"\\r"
        elif char == "\t":
            piece = b"\\t"
        elif char == "\\":
            piece = b"\\\\"
        elif char is None or ord(char) < 32 or 127 <= ord(char) < 160:
            piece = b"\\x%02x" % data[at]
        else:
            piece = char.encode("utf-8")
            step = len(piece)
        if len(out) + len(piece) > 80:
            return out + b"..."
        out += piece
        at += step
    return out


def rows_of(data):
    """Yields (line, raw bytes, fields, fault) for every line that is not empty. A field is
    (value, raw value); fault is None or (reason, index of the field)."""
    at, line = 0, 1
    while at < len(data):
        start, start_line = at, line
        fields, faults = [], []
        value, raw, state = bytearray(), bytearray(), "start"
        while True:
            byte = data[at:at + 1]
            if state == "quoted":
                if byte == b"":
                    faults.append(("open_quote", len(fields)))
                    fields.append((bytes(value), bytes(raw)))
                    end = at
                    break
                if byte == b'"':
                    if data[at + 1:at + 2] == b'"':
                        value += b'"'
                        raw += b'""'
                        at += 2
                    else:
                        state = "closed"
                        at += 1
                    continue
                if byte == b"\n" or (byte == b"\r" and data[at + 1:at + 2] != b"\n"):
                    line += 1
                value += byte
                raw += byte
                at += 1
                continue
            if byte in (b"", b"\n", b"\r", b","):
                fields.append((bytes(value), bytes(raw)))
                if byte == b",":
                    value, raw, state = bytearray(), bytearray(), "start"
                    at += 1
                    continue
                end = at
                at += 2 if data[at:at + 2] == b"\r\n" else 1
                line += 1
                break
            if state == "start" and byte == b'"':
                state = "quoted"
            elif state == "closed":
                faults.append(("text_after_quote", len(fields)))
                state = "behind"
            elif state == "behind":
                pass
            else:
                state = "plain"
                value += byte
                raw += byte
            at += 1
        if end > start:
            order = ["open_quote", "text_after_quote"]
            faults.sort(key=lambda f: (order.index(f[0]), f[1]))
            yield start_line, data[start:end], fields, faults[0] if faults else None


def header_of(row):
    line, raw, fields, fault = row
    shown = excerpt(raw)
    if len(raw) > ROW_MAX:
        raise BadInput(b"line %d: the header is longer than %d bytes" % (line, ROW_MAX))
    if fault:
        raise BadInput(b'line %d: in the header, %s: "%s"'
                       % (line, SENTENCES[fault[0]].encode(), shown))
    names = [raw_name.strip(b" \t") for _, raw_name in fields]
    places = []
    for wanted in NAMES:
        found = [i for i, name in enumerate(names) if name.lower() == wanted.lower()]
        if not found:
            raise BadInput(b'the header has no column "%s": "%s"' % (wanted, shown))
        if len(found) > 1:
            raise BadInput(b'the header has the column "%s" more than once: "%s"'
                           % (wanted, shown))
        places.append(found[0])
    return names, places


def is_day(text):
    if len(text) != 10 or text[4:5] != b"-" or text[7:8] != b"-":
        return False
    parts = [text[:4], text[5:7], text[8:]]
    if any(not all(48 <= c <= 57 for c in part) for part in parts):
        return False
    year, month, day = map(int, parts)
    return year >= 1 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def judge(row, names, places):
    """(reason, column index or None, bytes to show) or None for a good row."""
    _, raw, fields, fault = row
    if len(raw) > ROW_MAX:
        return "row_too_long", None, raw
    if fault:
        return fault[0], fault[1], raw
    if len(fields) != len(names):
        return "field_count", None, raw
    song, date, plays = (fields[place] for place in places)
    if not song[0]:
        return "empty_song", places[0], song[0]
    if b"\0" in song[0]:
        return "nul_byte", places[0], song[0]
    try:
        song[0].decode("utf-8")
    except UnicodeDecodeError:
        return "bad_utf8", places[0], song[0]
    if not is_day(date[1]):
        return "bad_date", places[1], date[1]
    if not plays[1] or any(not 48 <= c <= 57 for c in plays[1]):
        return "bad_plays", places[2], plays[1]
    if int(plays[1]) > LIMIT:
        return "plays_too_big", places[2], plays[1]
    return None


def field(data):
    if any(c in data for c in b',"\r\n'):
        return b'"' + data.replace(b'"', b'""') + b'"'
    return data


def aggregate(data, skip):
    """(output, rejects); BadInput with the sentence."""
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    rows = rows_of(data)
    header = next(rows, None)
    if header is None:
        raise BadInput(b"the file is empty: no header")
    names, places = header_of(header)
    sums, rejects = {}, []
    for row in rows:
        verdict = judge(row, names, places)
        if verdict is None:
            song, date, plays = (row[2][place][0] for place in places)
            sums[song, date] = sums.get((song, date), 0) + int(plays)
            continue
        reason, column, shown = verdict
        name = excerpt(names[column]) if column is not None and column < len(names) else b""
        if not skip:
            raise BadInput(b'line %d%s: %s%s: "%s"' % (
                row[0], b", column " + name if name else b"", SENTENCES[reason].encode(),
                b" (%d, the header has %d)" % (len(row[2]), len(names))
                if reason == "field_count" else b"", excerpt(shown)))
        rejects.append(b"%d,%s,%s,%s\n" % (row[0], field(name), reason.encode(),
                                           field(excerpt(shown))))
    out = [b"Song,Date,Number of Plays\n"]
    for (song, date), total in sorted(sums.items()):
        if total > LIMIT:
            raise BadInput(b'the plays of "%s" on %s add up to more than 2^128 - 1'
                           % (excerpt(song), date))
        out.append(b"%s,%s,%d\n" % (field(song), date, total))
    return b"".join(out), b"line,column,reason,excerpt\n" + b"".join(rejects[:1000])


def read(path):
    with open(path, "rb") as f:
        return f.read()


def golden_outcomes(data):
    """The expected files of a case: {ending: bytes}."""
    outcomes = {}
    try:
        outcomes[".expected.csv"] = aggregate(data, False)[0]
    except BadInput as e:
        outcomes[".expected.error"] = e.args[0] + b"\n"
        try:
            skipped = aggregate(data, True)
            outcomes[".skip.expected.csv"], outcomes[".rejects.csv"] = skipped
        except BadInput as skip_error:
            if skip_error.args != e.args:
                outcomes[".skip.expected.error"] = skip_error.args[0] + b"\n"
    return outcomes


def golden(directory, write):
    wrong = 0
    cases = [n[:-4] for n in sorted(os.listdir(directory)) if n.endswith(".csv") and
             not n.endswith((".expected.csv", ".rejects.csv"))]
    for case in cases:
        outcomes = golden_outcomes(read(os.path.join(directory, case + ".csv")))
        for ending in ENDINGS:
            path = os.path.join(directory, case + ending)
            here = read(path) if os.path.exists(path) else None
            due = outcomes.get(ending)
            if write and here is None and due is not None:
                with open(path, "wb") as f:
                    f.write(due)
                continue
            same = here == due
            if ending.endswith(".error") and here and due:
                same = here.strip() in due
            if not same:
                wrong += 1
                print(f"{case}{ending}: the contract says {due!r}, the file {here!r}")
    print(f"{len(cases)} golden cases, {wrong} wrong")
    return wrong or not cases


def main(argv):
    if len(argv) == 3 and argv[1] in ("golden", "write"):
        return golden(argv[2], argv[1] == "write")
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
