// How long polars takes to write a table that is in memory: peer_polars.mjs IN OUT ROUNDS
import { createRequire } from 'node:module';

const pl = createRequire(process.env.READERS + '/')('nodejs-polars');
const [source, target, rounds, options] = process.argv.slice(2);

const frame = pl.readParquet(source);
const seconds = [];
for (let i = 0; i < Number(rounds); i++) {
    const start = performance.now();
    frame.writeParquet(target, { compression: 'zstd', statistics: true });
    seconds.push((performance.now() - start) / 1000);
}
console.log(JSON.stringify({ seconds }));
