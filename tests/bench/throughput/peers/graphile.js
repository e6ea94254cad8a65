// graphile.js setup | closed COUNT CONNECTIONS 0 | open COUNT CONNECTIONS RATE | work CONCURRENCY
'use strict';
const { makeWorkerUtils, run } = require('graphile-worker');
const { Pool } = require('pg');
const { main, starts, submit } = require('./common.js');

const connectionString = process.env.BENCH_POSTGRESQL;

const client = async (count, connections, rate) => {
    const pgPool = new Pool({ connectionString, max: connections });
    const utils = await makeWorkerUtils({ pgPool });
    const open = await Promise.all(Array.from({ length: connections }, () => pgPool.connect()));
    open.forEach(one => one.release());
    await submit(due => utils.addJob('noop', { due }), count, connections, rate);
    await utils.release();
    await pgPool.end();
};

main({
    setup: async () => {
        const utils = await makeWorkerUtils({ connectionString });
        await utils.migrate();
        await utils.release();
        console.log('{}');
    },
    closed: client,
    open: client,
    // Batches both ways, as its page on performance advises.
    work: async concurrentJobs => {
        const started = starts();
        const { Logger } = require('graphile-worker');
        await run({
            preset: {
                worker: {
                    connectionString, concurrentJobs, maxPoolSize: 12, localQueue: { size: 500 },
                    completeJobBatchDelay: 0, failJobBatchDelay: 0,
                    logger: new Logger(() => (level, text) => {
                        if (level === 'error') console.error(text);
                    }),
                },
            },
            taskList: { noop: async payload => started(payload.due) },
        });
    },
});
