/* A device on a line: device TTY ID RUN LAST STATE KEY. Publishes RUN-1 to RUN-LAST to topic m and prints "A RUN N" when all to N are settled as stored,
 * "M TOPIC PAYLOAD" for each message to it (it subscribes to cmd/#), and "done DAMAGED" once the last is settled; then it goes on receiving.
 * STATE is its flash: a file with epoch and oldest unsettled number, or "-" for a device that forgets. KEY is in hex, or "-". */
#define _XOPEN_SOURCE 700
#define SLUICE_AUTH 1
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../../firmware-bridge/c/sluice_serial.h"

static int line_fd, state_fd = -1;
static const char *run;
static sluice_client client;
static uint32_t settled_to, printed_to;

static void put_line(void *context, const uint8_t *bytes, size_t count) {
  ssize_t written = write(line_fd, bytes, count);
  (void)context;
  (void)written;
}
static uint32_t now_ms(void *context) {
  struct timespec now;
  (void)context;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}
static void random_bytes(void *context, uint8_t *bytes, size_t count) {
  static int fd = -1;
  (void)context;
  if (fd < 0) fd = open("/dev/urandom", O_RDONLY);
  if (read(fd, bytes, count) != (ssize_t)count) exit(5);
}
static void save(uint32_t base) {
  char text[40];
  int length = snprintf(text, sizeof text, "%10lu %10lu\n", (unsigned long)client.epoch, (unsigned long)base);
  if (state_fd >= 0 && pwrite(state_fd, text, (size_t)length, 0) != length) exit(3);
}
static void settled(void *context, uint32_t sequence, int result) {
  (void)context;
  if (result != SLUICE_OK) exit(4);
  settled_to = sequence;
  save(sequence + 1);
}
static void welcome(void *context, uint32_t epoch) {
  (void)context;
  (void)epoch;
  save(client.base);
}
static void message(void *context, const char *topic, const uint8_t *payload, size_t length, int retained) {
  (void)context;
  (void)retained;
  printf("M %s %.*s\n", topic, (int)length, (const char *)payload);
  fflush(stdout);
}

int main(int argc, char **argv) {
  static uint8_t key[64];
  sluice_io io = {0};
  unsigned long last, epoch = 0, base = 1;
  int done = 0;
  if (argc != 7) return 2;
  run = argv[3];
  last = strtoul(argv[4], NULL, 10);
  line_fd = open(argv[1], O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (line_fd < 0) return 2;
  io.write = put_line;
  io.now_ms = now_ms;
  io.on_settled = settled;
  io.on_welcome = welcome;
  io.on_message = message;
  io.random = random_bytes;
  sluice_init(&client, argv[2], &io);
  if (strcmp(argv[6], "-") != 0) {
    size_t length = 0;
    unsigned byte;
    while (length < sizeof key && sscanf(argv[6] + 2 * length, "%2x", &byte) == 1) key[length++] = (uint8_t)byte;
    sluice_set_key(&client, key, length);
  }
  if (strcmp(argv[5], "-") != 0) {
    char text[40] = {0};
    state_fd = open(argv[5], O_RDWR | O_CREAT, 0600);
    if (state_fd < 0) return 2;
    if (pread(state_fd, text, sizeof text - 1, 0) > 0 && sscanf(text, "%lu %lu", &epoch, &base) == 2)
      sluice_resume(&client, (uint32_t)epoch, (uint32_t)base);
  }
  if (sluice_subscribe(&client, "cmd/#", 1, NULL) != SLUICE_OK) return 2;
  for (;;) {
    struct pollfd ready = {0};
    uint8_t bytes[256];
    char payload[64];
    ssize_t count;
    while (client.next <= last) {
      int length = snprintf(payload, sizeof payload, "%s-%lu", run, (unsigned long)client.next);
      if (sluice_publish(&client, "m", payload, (size_t)length, 0, NULL) != SLUICE_OK) break;
    }
    sluice_poll(&client);
    ready.fd = line_fd;
    ready.events = POLLIN;
    poll(&ready, 1, 5);
    while ((count = read(line_fd, bytes, sizeof bytes)) > 0) sluice_receive(&client, bytes, (size_t)count);
    if (settled_to != printed_to) {
      printed_to = settled_to;
      printf("A %s %lu\n", run, (unsigned long)settled_to);
      fflush(stdout);
    }
    if (client.base > last && !done) {
      done = 1;
      printf("done %lu\n", (unsigned long)client.damaged_frames);
      fflush(stdout);
    }
  }
}
