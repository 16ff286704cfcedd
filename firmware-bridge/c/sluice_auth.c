/* See sluice_auth.h. */
#include "sluice_auth.h"

#include <string.h>

enum { BLOCK = 64, LENGTH_AT = 56, ROUNDS = 64 };

typedef struct {
  uint32_t state[8];
  uint32_t bytes;
  uint8_t block[BLOCK];
} sha256;

static const uint32_t round_constants[ROUNDS] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u};

static uint32_t rotated(uint32_t x, unsigned n) { return (x >> n) | (x << (32u - n)); }

static void mix(sha256 *h) {
  uint32_t w[16], v[8];
  unsigned i;
  for (i = 0; i < 16; i++) {
    const uint8_t *b = h->block + 4 * i;
    w[i] = ((uint32_t)b[0] << 24) | ((uint32_t)b[1] << 16) | ((uint32_t)b[2] << 8) | b[3];
  }
  memcpy(v, h->state, sizeof v);
  for (i = 0; i < ROUNDS; i++) {
    uint32_t a, b;
    if (i >= 16) {
      /* The schedule of 64 words, 16 at a time. */
      uint32_t x = w[(i + 1) & 15u], y = w[(i + 14) & 15u];
      w[i & 15u] += (rotated(x, 7) ^ rotated(x, 18) ^ (x >> 3)) + w[(i + 9) & 15u] +
                    (rotated(y, 17) ^ rotated(y, 19) ^ (y >> 10));
    }
    a = v[7] + (rotated(v[4], 6) ^ rotated(v[4], 11) ^ rotated(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
        round_constants[i] + w[i & 15u];
    b = (rotated(v[0], 2) ^ rotated(v[0], 13) ^ rotated(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    memmove(v + 1, v, 7 * sizeof v[0]);
    v[4] += a;
    v[0] = a + b;
  }
  for (i = 0; i < 8; i++) h->state[i] += v[i];
}

static void start(sha256 *h) {
  static const uint32_t initial[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                                      0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
  memcpy(h->state, initial, sizeof initial);
  h->bytes = 0;
}

static void add(sha256 *h, const uint8_t *bytes, size_t count) {
  while (count-- > 0) {
    h->block[h->bytes++ % BLOCK] = *bytes++;
    if (h->bytes % BLOCK == 0) mix(h);
  }
}

static void finish(sha256 *h, uint8_t out[SLUICE_HMAC_BYTES]) {
  static const uint8_t one = 0x80, zero = 0;
  uint32_t bytes = h->bytes;
  uint8_t length[8] = {0, 0, 0, (uint8_t)(bytes >> 29), (uint8_t)(bytes >> 21), (uint8_t)(bytes >> 13),
                       (uint8_t)(bytes >> 5), (uint8_t)(bytes << 3)};
  unsigned i;
  add(h, &one, 1);
  while (h->bytes % BLOCK != LENGTH_AT) add(h, &zero, 1);
  add(h, length, sizeof length);
  for (i = 0; i < SLUICE_HMAC_BYTES; i++) out[i] = (uint8_t)(h->state[i / 4] >> (24 - 8 * (i % 4)));
}

static void start_with_key(sha256 *h, const uint8_t *key, size_t key_length, uint8_t pad) {
  size_t i;
  start(h);
  for (i = 0; i < BLOCK; i++) {
    uint8_t byte = (uint8_t)((i < key_length ? key[i] : 0) ^ pad);
    add(h, &byte, 1);
  }
}

void sluice_hmac(const uint8_t *key, size_t key_length, const sluice_part *parts, size_t count,
                 uint8_t out[SLUICE_HMAC_BYTES]) {
  sha256 h;
  size_t i;
  start_with_key(&h, key, key_length, 0x36);
  for (i = 0; i < count; i++) add(&h, (const uint8_t *)parts[i].bytes, parts[i].count);
  finish(&h, out);
  start_with_key(&h, key, key_length, 0x5c);
  add(&h, out, SLUICE_HMAC_BYTES);
  finish(&h, out);
}

int sluice_mac_equal(const uint8_t *a, const uint8_t *b) {
  uint8_t differing = 0;
  unsigned i;
  for (i = 0; i < SLUICE_MAC_BYTES; i++) differing |= (uint8_t)(a[i] ^ b[i]);
  return differing == 0;
}
