// Daily totals with chDB, which is ClickHouse in the process: chdb.js IN OUT. Types are given,
// all cores are the default.
const { query } = require('chdb');

const quoted = (path) => `'${path.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
const [input, output] = process.argv.slice(2);

query(`
    INSERT INTO FUNCTION file(${quoted(output)}, CSVWithNames)
    SELECT Song, Date, sum("Number of Plays") AS "Number of Plays"
    FROM file(${quoted(input)}, CSVWithNames, 'Song String, Date Date, "Number of Plays" UInt64')
    GROUP BY Song, Date ORDER BY Song, Date`, 'CSV');
