/* Reads lines from stdin and answers each with one:
 *   S EPOCH BODY  -> the bytes for the line, hex
 *   R EPOCH WIRE  -> how many frames were damaged (a client in session takes them)
 *   Z SEED COUNT  -> feeds COUNT random bytes to a client; answers "alive" */
#define SLUICE_MAX_BODY 1000
#include "../../../firmware-bridge/c/sluice_serial.c"

#include <stdio.h>
#include <stdlib.h>

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

static size_t parse_hex(const char *hex, uint8_t *bytes) {
  size_t count = 0;
  unsigned byte;
  while (sscanf(hex + 2 * count, "%2x", &byte) == 1) bytes[count++] = (uint8_t)byte;
  return count;
}

int main(void) {
  static char line[8192], hex[8000];
  static uint8_t bytes[4000];
  static sluice_client client;
  sluice_io io = {0};
  char command;
  unsigned long number;
  io.now_ms = now;
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "%c %lu %7999s", &command, &number, hex) != 3) return 2;
    io.write = command == 'S' ? print_hex : ignore;
    sluice_init(&client, "d", &io);
    client.epoch = (uint32_t)number;
    client.connected = client.hello_sent = 1;
    if (command == 'S') {
      send_frame(&client, bytes, parse_hex(hex, bytes));
      printf("\n");
    } else if (command == 'R') {
      sluice_receive(&client, bytes, parse_hex(hex, bytes));
      printf("%lu\n", (unsigned long)client.damaged_frames);
    } else {
      unsigned long left = strtoul(hex, NULL, 10);
      srand((unsigned)number);
      for (; left > 0; left--) {
        uint8_t byte = (uint8_t)(rand() % 9 == 0 ? 0 : rand() % 5 == 0 ? rand() : rand() % 40);
        sluice_receive(&client, &byte, 1);
        if (left % 64 == 0) {
          sluice_publish(&client, "t", &left, sizeof left, 0, NULL);
          sluice_poll(&client);
        }
      }
      printf("alive\n");
    }
    fflush(stdout);
  }
  return 0;
}
