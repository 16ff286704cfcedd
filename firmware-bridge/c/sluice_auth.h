/* HMAC-SHA-256 (RFC 2104, FIPS 180-4) for devices that share a key with the bridge: small rather than fast, no tables beside the round constants, no
 * memory of its own. About 0.4 KB of stack. */
#ifndef SLUICE_AUTH_H
#define SLUICE_AUTH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_HMAC_BYTES 32
/* Bytes of a code on the line: the first of the HMAC. */
#define SLUICE_MAC_BYTES 8

typedef struct {
  const void *bytes;
  size_t count;
} sluice_part;

/* HMAC over the parts, one after the other. `key_length`: at most 64. */
void sluice_hmac(const uint8_t *key, size_t key_length, const sluice_part *parts, size_t count,
                 uint8_t out[SLUICE_HMAC_BYTES]);

/* Compares in a time that does not depend on what differs. */
int sluice_mac_equal(const uint8_t *a, const uint8_t *b);

#ifdef __cplusplus
}
#endif
#endif
