// bullmq.js setup | closed COUNT CONNECTIONS 0 | open COUNT CONNECTIONS RATE | work CONCURRENCY
'use strict';
const { Queue, Worker } = require('bullmq');
const { main, starts, submit } = require('./common.js');

const connection = { host: '127.0.0.1', port: Number(process.env.BENCH_REDIS_PORT), maxRetriesPerRequest: null };

// One connection carries all that is in flight: BullMQ's own way, and faster than one for each.
const client = async (count, inFlight, rate) => {
    const queue = new Queue('noop', { connection });
    await queue.waitUntilReady();
    await submit(due => queue.add('noop', { due }), count, inFlight, rate);
    await queue.close();
};

main({
    setup: async () => console.log('{}'),
    closed: client,
    open: client,
    work: async concurrency => {
        const started = starts();
        const worker = new Worker('noop', async job => started(job.data.due), { connection, concurrency });
        worker.on('error', error => console.error(error));
    },
});
