/* id.h - names that are made once and never again.
 *
 * Ids are UUID version 7 (RFC 9562, section 5.7): 48 bits of wall milliseconds, then a
 * counter (section 6.2, method 1) and random bits. Within one process they rise strictly,
 * even when the wall clock steps back, so ordering by id is ordering by creation.
 * Tokens are 128 random bits from the kernel as hex: they cannot be guessed.
 * Safe from any thread. The first call may block until the kernel's pool is seeded. */
#ifndef BASE_ID_H
#define BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

enum { ID_TEXT_MAX = 37, ID_BYTES = 16, TOKEN_TEXT_MAX = 33 };

void id_new(char ret_id[ID_TEXT_MAX]);
void token_new(char ret_token[TOKEN_TEXT_MAX]);

/* Exactly 36 characters, lower-case hex and dashes in the places of a UUID. */
bool id_is_valid(const char *text);
/* Exactly 32 lower-case hex digits. */
bool token_is_valid(const char *text);

/* Text to the 16 bytes kept in databases and back; `id` must be valid. */
void id_to_bytes(const char *id, uint8_t ret_bytes[ID_BYTES]);
void id_from_bytes(const uint8_t bytes[ID_BYTES], char ret_id[ID_TEXT_MAX]);

#endif
