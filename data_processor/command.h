/* command.h - `data_processor aggregate`: the CSV engine as a program of its own.
 *
 *   data_processor aggregate IN.csv OUT.csv [--threads N] [--memory 256M]
 *                  [--on-bad-row fail|skip] [--rejects FILE]
 *
 * `-` is standard input or output. A file is written beside its place under another name,
 * made durable and renamed, so OUT.csv is whole or as it was before. */
#ifndef DATA_PROCESSOR_COMMAND_H
#define DATA_PROCESSOR_COMMAND_H

enum {
    COMMAND_DONE = 0,
    COMMAND_BAD_INPUT = 1, /* the input breaks the contract of docs/csv.md */
    COMMAND_BAD_USAGE = 2,
    COMMAND_TRY_LATER = 111 /* input, output, disk or memory */
};

/* Runs the command to its exit code. argv[0] is the word "aggregate". Takes over the
 * process's SIGPIPE, SIGXFSZ, SIGINT, SIGTERM and SIGHUP: call it from main only. */
int csv_command(int argc, char **argv);

#endif
