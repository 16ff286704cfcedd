/* What a client under fuzz is given of the world: nobody hears it, the clock stands until it is moved, and every random number is 0. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint32_t clock_ms;
static void ignore(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  (void)bytes;
  (void)count;
}
static uint32_t now(void *context) {
  (void)context;
  return clock_ms;
}
static void zeros(void *context, uint8_t *bytes, size_t count) {
  (void)context;
  memset(bytes, 0, count);
}
