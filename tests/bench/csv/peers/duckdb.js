// Daily totals with DuckDB: duckdb.js IN OUT. Types are given, all cores are the default.
const { DuckDBInstance } = require('@duckdb/node-api');

const quoted = (path) => `'${path.replaceAll("'", "''")}'`;

async function main([input, output]) {
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    await connection.run(`
        COPY (
            SELECT "Song", "Date", sum("Number of Plays") AS "Number of Plays"
            FROM read_csv(${quoted(input)}, auto_detect = false, header = true, delim = ',', quote = '"', escape = '"',
                columns = {'Song': 'VARCHAR', 'Date': 'DATE', 'Number of Plays': 'BIGINT'})
            GROUP BY ALL ORDER BY ALL
        ) TO ${quoted(output)} (FORMAT csv, HEADER)`);
}

main(process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
