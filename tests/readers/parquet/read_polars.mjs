// The rows of Parquet files as polars reads them: read_polars.mjs OUT FILE...
//
// Its JavaScript side knows no binary values, so polars makes lists of small numbers of them;
// numbers come as text, so that none loses digits on the way.
import { createRequire } from 'node:module';
import { main, bytesText } from './cells.mjs';

const pl = createRequire(process.env.READERS + '/')('nodejs-polars');

function isBinary(series) {
    try {
        return series.dtype === undefined;
    } catch (error) {
        if (String(error).includes('Binary')) return true;
        throw error;
    }
}

function* binaryCells(frame, name) {
    const lists = frame.select(pl.col(name).cast(pl.List(pl.UInt8)));
    const lengths = lists.select(pl.col(name).lst.lengths()).getColumn(name).toArray();
    const flat = lists.getColumn(name).explode().dropNulls();
    const bytes = flat.length ? flat.toTypedArray() : new Uint8Array();
    let at = 0;
    for (const length of lengths) {
        if (length === null) {
            yield '-';
            continue;
        }
        yield bytesText(bytes.subarray(at, at + Number(length)));
        at += Number(length);
    }
    if (at !== bytes.length) throw new Error(`${name}: ${bytes.length} bytes came, ${at} were counted`);
}

function* textCells(frame, name, isText) {
    for (const value of frame.select(pl.col(name).cast(pl.Utf8)).getColumn(name).toArray())
        yield value === null ? '-' : isText ? bytesText(Buffer.from(value, 'utf8')) : value;
}

function cellsOf(frame, name) {
    if (isBinary(frame.getColumn(name))) return binaryCells(frame, name);
    const kind = String(frame.getColumn(name).dtype);
    const days = /Date/.test(kind) ? frame.select(pl.col(name).cast(pl.Int32)) : frame;
    return textCells(days, name, /String|Utf8/.test(kind));
}

await main(async (file, lines) => {
    const frame = pl.readParquet(file);
    const columns = frame.columns.map((name) => cellsOf(frame, name));
    for (let i = 0; i < frame.height; i++) lines.row(columns.map((cells) => cells.next().value));
});
