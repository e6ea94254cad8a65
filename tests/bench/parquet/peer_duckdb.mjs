// How long DuckDB takes to write a table that is in memory: peer_duckdb.mjs IN OUT ROUNDS OPTIONS
import { createRequire } from 'node:module';

const { DuckDBInstance } = createRequire(process.env.READERS + '/')('@duckdb/node-api');
const quoted = (text) => `'${text.replaceAll("'", "''")}'`;
const [source, target, rounds, options] = process.argv.slice(2);

const instance = await DuckDBInstance.create(':memory:');
const connection = await instance.connect();
await connection.run(`CREATE TABLE data AS SELECT * FROM read_parquet(${quoted(source)})`);
const seconds = [];
for (let i = 0; i < Number(rounds); i++) {
    const start = performance.now();
    await connection.run(`COPY data TO ${quoted(target)} (FORMAT parquet${options})`);
    seconds.push((performance.now() - start) / 1000);
}
console.log(JSON.stringify({ seconds }));
process.exit(0);
