// What the clients and workers in Node.js share.
'use strict';
const fs = require('fs');

const now = () => (performance.timeOrigin + performance.now()) / 1000;

// Submits one by one with so many in flight. Open loop (rate > 0): task number i is due i / rate seconds after the
// start, however long others take. Prints {"per_second"}.
exports.submit = async (add, count, inFlight, rate) => {
    const began = now();
    let number = 0;
    const one = async () => {
        while (number < count) {
            const i = number++;
            let due = now();
            if (rate) {
                due = began + i / rate;
                const wait = due - now();
                if (wait > 0) await new Promise(resolve => setTimeout(resolve, wait * 1000));
            }
            await add(due);
        }
    };
    await Promise.all(Array.from({ length: inFlight }, one));
    console.log(JSON.stringify({ per_second: count / (now() - began) }));
};

// For the handler: notes when a task started and when it was due; written to a file every 20 ms.
exports.starts = () => {
    const file = fs.openSync(`${process.env.BENCH_STARTS}/${process.pid}`, 'a');
    let waiting = [];
    setInterval(() => {
        if (waiting.length === 0) return;
        fs.writeSync(file, Buffer.from(Float64Array.from(waiting).buffer));
        waiting = [];
    }, 20);
    return due => waiting.push(now(), due);
};

exports.main = async actions => {
    const [action, ...words] = process.argv.slice(2);
    await actions[action](...words.map(Number));
};
