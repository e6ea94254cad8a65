// What the three readers share: a row as a line of text, as expect.h tells.
import crypto from 'node:crypto';
import fs from 'node:fs';

const HEX_MAX = 32;

export function bytesText(bytes) {
    const buffer = Buffer.from(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength ?? bytes.length);
    const digest = buffer.length > HEX_MAX
        ? crypto.createHash('sha256').update(buffer).digest('hex')
        : buffer.toString('hex');
    return `${buffer.length}:${digest}`;
}

// Lines go out in large pieces.
export class Lines {
    constructor(path) {
        this.fd = fs.openSync(path, 'w');
        this.held = [];
    }

    row(cells) {
        this.held.push(cells.join('\t'));
        if (this.held.length >= 10000) this.flush();
    }

    flush() {
        if (this.held.length) fs.writeSync(this.fd, this.held.join('\n') + '\n');
        this.held = [];
    }

    end() {
        this.flush();
        fs.closeSync(this.fd);
    }
}

// read_x.mjs OUT FILE...
export async function main(read) {
    const [out, ...files] = process.argv.slice(2);
    const lines = new Lines(out);
    try {
        for (const file of files) await read(file, lines);
        lines.end();
    } catch (error) {
        console.error(String(error?.stack ?? error));
        process.exit(1);
    }
}
