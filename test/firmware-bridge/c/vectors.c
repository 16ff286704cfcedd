/* Reads lines from stdin and answers each with one; KEY is "-" for none, everything else in hex:
 *   S EPOCH KEY COUNTER BODY         -> the bytes for the line
 *   R EPOCH KEY WIRE                 -> how many frames were damaged (a client in session takes them)
 *   H KEY NONCE WELCOME              -> hello, session key and a first publish of device "pump-7"
 *   M KEY DATA                       -> HMAC-SHA-256
 *   Z SEED COUNT                     -> feeds COUNT random bytes to a client; answers "alive" */
#define SLUICE_AUTH 1
#define SLUICE_MAX_BODY 1000
#define SLUICE_MAX_RECEIVE 256
#include "../../../firmware-bridge/c/sluice_serial.c"

#include <stdio.h>
#include <stdlib.h>

static uint8_t next_nonce[8];

static void print_hex(void *context, const uint8_t *bytes, size_t count) {
  size_t i;
  (void)context;
  for (i = 0; i < count; i++) printf("%02x", bytes[i]);
}
static void ignore(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  (void)bytes;
  (void)count;
}
static uint32_t now(void *context) {
  static uint32_t ms;
  (void)context;
  return ms += 7;
}
static void nonce(void *context, uint8_t *bytes, size_t count) {
  (void)context;
  memcpy(bytes, next_nonce, count);
}

static size_t parse_hex(const char *hex, uint8_t *bytes) {
  size_t count = 0;
  unsigned byte;
  while (sscanf(hex + 2 * count, "%2x", &byte) == 1) bytes[count++] = (uint8_t)byte;
  return count;
}

static sluice_client client;

static void start(sluice_io *io, uint32_t epoch, const char *key, int with_key) {
  static uint8_t bytes[64];
  sluice_init(&client, "pump-7", io);
  if (with_key && key[0] != '-') {
    sluice_set_key(&client, bytes, parse_hex(key, bytes));
    memcpy(client.session_key, bytes, sizeof client.session_key);
  }
  client.epoch = epoch;
}

int main(void) {
  static char line[16384], a[200], b[200], hex[8200];
  static uint8_t bytes[4100];
  sluice_io io = {0};
  unsigned long number, counter;
  io.now_ms = now;
  io.random = nonce;
  while (fgets(line, sizeof line, stdin)) {
    io.write = ignore;
    if (sscanf(line, "S %lu %199s %lu %8199s", &number, a, &counter, hex) == 4) {
      io.write = print_hex;
      start(&io, (uint32_t)number, a, 1);
      client.tx_counter = (uint32_t)counter - 1;
      send_frame(&client, bytes, parse_hex(hex, bytes));
    } else if (sscanf(line, "R %lu %199s %8199s", &number, a, hex) == 3) {
      start(&io, (uint32_t)number, a, 1);
      client.connected = client.hello_sent = 1;
      sluice_receive(&client, bytes, parse_hex(hex, bytes));
      printf("%lu", (unsigned long)(client.damaged_frames));
    } else if (sscanf(line, "H %199s %199s %8199s", a, b, hex) == 3) {
      parse_hex(b, next_nonce);
      start(&io, 0, a, 1);
      client.io.write = print_hex;
      send_hello(&client);
      client.hello_sent = 1;
      client.io.write = ignore;
      sluice_receive(&client, bytes, parse_hex(hex, bytes));
      printf(" ");
      print_hex(NULL, client.session_key, sizeof client.session_key);
      printf(" ");
      client.io.write = print_hex;
      sluice_publish(&client, "t", "21.5", 4, 0, NULL);
      sluice_poll(&client);
    } else if (sscanf(line, "M %199s %8199s", a, hex) >= 1) {
      uint8_t key[64], out[SLUICE_HMAC_BYTES];
      size_t key_length = parse_hex(a, key), length = hex[0] == '-' ? 0 : parse_hex(hex, bytes), cut = length / 3;
      sluice_part parts[2] = {{bytes, 0}, {bytes, 0}};
      parts[0].count = cut;
      parts[1].bytes = bytes + cut;
      parts[1].count = length - cut;
      sluice_hmac(key, key_length, parts, 2, out);
      print_hex(NULL, out, sizeof out);
    } else if (sscanf(line, "Z %lu %lu", &number, &counter) == 2) {
      start(&io, 7, "-", 0);
      client.connected = client.hello_sent = 1;
      srand((unsigned)number);
      for (; counter > 0; counter--) {
        uint8_t byte = (uint8_t)(rand() % 9 == 0 ? 0 : rand() % 5 == 0 ? rand() : rand() % 40);
        sluice_receive(&client, &byte, 1);
        if (counter % 64 == 0) {
          sluice_publish(&client, "t", &counter, sizeof counter, 0, NULL);
          sluice_poll(&client);
        }
      }
      printf("alive");
    } else {
      return 2;
    }
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
