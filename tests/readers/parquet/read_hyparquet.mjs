// The rows of Parquet files as hyparquet reads them: read_hyparquet.mjs OUT FILE...
//
// hyparquet makes floating point numbers of decimals; so that no digit is lost their column is
// read as the bytes that it holds. Text comes as bytes too: decoding it would drop a byte order
// mark.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { main, bytesText } from './cells.mjs';

const from = createRequire(process.env.READERS + '/');
const load = (name) => import(pathToFileURL(from.resolve(name)).href);
const { asyncBufferFromFile, parquetMetadataAsync, parquetRead } = await load('hyparquet');
const { compressors } = await load('hyparquet-compressors');

function decimalText(bytes) {
    const n = BigInt('0x' + Buffer.from(bytes).toString('hex'));
    return BigInt.asIntN(bytes.length * 8, n).toString();
}

function cellOf(element) {
    const kind = element.logical_type?.type;
    if (kind === 'STRING') return bytesText;
    if (kind === 'DATE') return (value) => (value.getTime() / 86400000).toString();
    if (kind === 'DECIMAL') return decimalText;
    if (element.type === 'BYTE_ARRAY') return bytesText;
    return (value) => value.toString();
}

await main(async (path, lines) => {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const columns = metadata.schema.slice(1);
    const cells = columns.map(cellOf);
    for (const column of columns) {
        if (column.logical_type?.type !== 'DECIMAL') continue;
        delete column.logical_type;
        delete column.converted_type;
    }
    let start = 0;
    for (const group of metadata.row_groups) {
        const end = start + Number(group.num_rows);
        await parquetRead({
            file, metadata, compressors, rowStart: start, rowEnd: end, utf8: false, rowFormat: 'array',
            parsers: { stringFromBytes: (bytes) => bytes },
            onComplete(rows) {
                for (const row of rows) lines.row(row.map((value, i) => (value == null ? '-' : cells[i](value))));
            },
        });
        start = end;
    }
});
