/* clock.h - the two clocks, kept apart.
 *
 * Wall time (milliseconds since the Unix epoch, UTC) is for showing and for ids. Durations
 * and deadlines inside a process come from the monotonic clock only. Leases are measured on
 * the database's clock by the store, never here. Safe from any thread; nothing blocks. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_ns(void);

enum { CLOCK_TEXT_MAX = 32 };

/* RFC 3339 in UTC with milliseconds: "2026-01-31T23:59:59.123Z". */
void clock_format(int64_t wall_ms, char ret_text[CLOCK_TEXT_MAX]);

/* Reads RFC 3339 ("2026-01-31T23:59:59Z", ".123", "+01:00"; a space for the T is allowed).
 * False when the text is anything else or no real time of the years 1970 to 9999. */
bool clock_parse(const char *text, int64_t *ret_wall_ms);

/* Is year-month-day a day of the proleptic Gregorian calendar, years 1 to 9999? */
bool clock_is_date(int year, int month, int day);

#endif
