// The rows of Parquet files as DuckDB reads them: read_duckdb.mjs OUT FILE...
//
// Text comes as bytes: what makes JavaScript strings of it drops a byte order mark.
import { createRequire } from 'node:module';
import { main, bytesText } from './cells.mjs';

const { DuckDBInstance, DuckDBTypeId } = createRequire(process.env.READERS + '/')('@duckdb/node-api');

const quoted = (text) => `'${text.replaceAll("'", "''")}'`;
const cellOf = {
    [DuckDBTypeId.BLOB]: (value) => bytesText(value.bytes),
    [DuckDBTypeId.BIGINT]: (value) => value.toString(),
    [DuckDBTypeId.DATE]: (value) => value.days.toString(),
    [DuckDBTypeId.DECIMAL]: (value) => value.value.toString(),
};

await main(async (file, lines) => {
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    const schema = await connection.run(`SELECT * FROM read_parquet(${quoted(file)}) LIMIT 0`);
    const columns = schema.columnNames().map((name, i) => {
        const column = `"${name.replaceAll('"', '""')}"`;
        return schema.columnTypes()[i].typeId === DuckDBTypeId.VARCHAR ? `encode(${column})` : column;
    });
    const result = await connection.stream(`SELECT ${columns} FROM read_parquet(${quoted(file)})`);
    const cells = result.columnTypes().map((type) => {
        const cell = cellOf[type.typeId];
        if (!cell) throw new Error(`a column came as ${type}`);
        return (value) => (value === null ? '-' : cell(value));
    });
    for (;;) {
        const chunk = await result.fetchChunk();
        if (!chunk || chunk.rowCount === 0) break;
        for (const row of chunk.getRows()) lines.row(row.map((value, i) => cells[i](value)));
    }
});
