/* Runs a fuzz target without libFuzzer: standalone SECONDS SEED FILE…. Inputs are the files (frames and datagrams that are right, one a file), then what
 * becomes of them when bytes are flipped, taken out, doubled, or two inputs are put together. Prints how many ran. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum { MAX_INPUTS = 512, MAX_BYTES = 1024 };
static struct {
  size_t count;
  uint8_t bytes[MAX_BYTES];
} inputs[MAX_INPUTS];
static uint32_t state;

static uint32_t below(uint32_t limit) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state % limit;
}

/* @returns the new length. */
static size_t change(uint8_t *bytes, size_t count, size_t inputs_read) {
  size_t at = count > 0 ? below((uint32_t)count) : 0, other, length;
  switch (below(5)) {
    case 0:
      if (count > 0) bytes[at] ^= (uint8_t)(1u << below(8));
      return count;
    case 1:
      if (count > 0) bytes[at] = (uint8_t)below(256);
      return count;
    case 2:
      if (count == 0) return 0;
      memmove(bytes + at, bytes + at + 1, count - at - 1);
      return count - 1;
    case 3:
      if (count == MAX_BYTES) return count;
      memmove(bytes + at + 1, bytes + at, count - at);
      return count + 1;
    default:
      if (inputs_read == 0) return count;
      other = below((uint32_t)inputs_read);
      length = inputs[other].count < MAX_BYTES - count ? inputs[other].count : MAX_BYTES - count;
      memcpy(bytes + count, inputs[other].bytes, length);
      return count + length;
  }
}

int main(int argc, char **argv) {
  static uint8_t bytes[MAX_BYTES];
  unsigned long runs = 0;
  size_t read = 0;
  time_t until;
  int i;
  if (argc < 3) return 2;
  state = (uint32_t)strtoul(argv[2], NULL, 10) | 1u;
  until = time(NULL) + strtol(argv[1], NULL, 10);
  for (i = 3; i < argc && read < MAX_INPUTS; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (file == NULL) return 2;
    inputs[read].count = fread(inputs[read].bytes, 1, MAX_BYTES, file);
    fclose(file);
    LLVMFuzzerTestOneInput(inputs[read].bytes, inputs[read].count);
    read++;
  }
  do {
    size_t count = 0, rounds = 1 + below(6);
    if (read > 0) {
      size_t which = below((uint32_t)read);
      count = inputs[which].count;
      memcpy(bytes, inputs[which].bytes, count);
    }
    while (rounds-- > 0) count = change(bytes, count, read);
    LLVMFuzzerTestOneInput(bytes, count);
    runs++;
  } while (runs % 256 != 0 || time(NULL) < until);
  printf("%lu inputs\n", runs);
  return 0;
}
