/* Reads lines from stdin and answers each with one:
 *   V WIRE        -> the message read and written again, hex; "bad" when it is none
 *   Z SEED COUNT  -> COUNT datagrams of random bytes, some of them almost right, to a client in the middle of its work; answers "alive" */
#include "../../../firmware-bridge/c/sluice_mqttsn.c"

#include <stdio.h>
#include <stdlib.h>

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
static void fill(void *context, uint8_t *bytes, size_t count) {
  (void)context;
  while (count-- > 0) *bytes++ = (uint8_t)rand();
}
static void heard(void *context, const char *topic, uint16_t topic_id, const uint8_t *payload, size_t length, int retained) {
  volatile size_t sum = strlen(topic) + topic_id + (size_t)retained;
  (void)context;
  while (length-- > 0) sum += payload[length];
}

static size_t parse_hex(const char *hex, uint8_t *bytes) {
  size_t count = 0;
  unsigned byte;
  while (sscanf(hex + 2 * count, "%2x", &byte) == 1) bytes[count++] = (uint8_t)byte;
  return count;
}

/* Each datagram in memory of just its size, so that a byte read beyond it is noticed. */
static void receive_copy(sluice_sn_client *client, const uint8_t *bytes, size_t count) {
  uint8_t *copy = malloc(count > 0 ? count : 1);
  memcpy(copy, bytes, count);
  sluice_sn_receive(client, copy, count);
  free(copy);
}

static void fuzz(sluice_sn_client *client, unsigned long left, int with_key) {
  static const uint8_t key[16] = {7};
  sluice_sn_io io = {0};
  io.send = ignore;
  io.now_ms = now;
  io.random = fill;
  io.on_message = heard;
  sluice_sn_init(client, "pump", &io);
  if (with_key) sluice_sn_use_key(client, key, sizeof key);
  sluice_sn_connect(client, 60, 1);
  for (; left > 0; left--) {
    uint8_t bytes[80];
    size_t count = (size_t)(rand() % (int)sizeof bytes), i;
    for (i = 0; i < count; i++) bytes[i] = (uint8_t)(rand() % (rand() % 3 == 0 ? 256 : 12));
    if (count > 1 && rand() % 8 != 0) {
      bytes[0] = (uint8_t)count;
      bytes[1] = (uint8_t)(rand() % 2 ? rand() % 0x1e : 0xf0 + rand() % 4);
    }
    receive_copy(client, bytes, count);
    clock_ms += (uint32_t)(rand() % 900);
    if (rand() % 16 == 0) sluice_sn_publish(client, rand() % 2 ? "plant/a" : "ab", &left, sizeof left, rand() % 2, 0, NULL);
    if (rand() % 32 == 0) sluice_sn_subscribe(client, "plant/#", 1);
    if (rand() % 64 == 0) sluice_sn_sleep(client, 60);
    if (rand() % 64 == 0) sluice_sn_wake(client);
    if (rand() % 64 == 0) sluice_sn_connect(client, 60, 0);
    sluice_sn_poll(client);
  }
}

int main(void) {
  static char line[8192], text[8000];
  static uint8_t bytes[4000], written[4000];
  static sluice_sn_client client;
  unsigned long count;
  while (fgets(line, sizeof line, stdin)) {
    text[0] = '\0';
    if (line[0] == 'V') {
      sluice_sn_message message;
      size_t length, i;
      uint8_t *copy;
      (void)!sscanf(line, "V %7999s", text);
      length = parse_hex(text, bytes);
      copy = malloc(length > 0 ? length : 1);
      memcpy(copy, bytes, length);
      if (sluice_sn_read(copy, length, &message)) {
        length = sluice_sn_write(&message, written, sizeof written);
        for (i = 0; i < length; i++) printf("%02x", written[i]);
      } else
        printf("bad");
      free(copy);
      printf("\n");
    } else if (sscanf(line, "Z %7999s %lu", text, &count) == 2) {
      srand((unsigned)strtoul(text, NULL, 10));
      fuzz(&client, count, 0);
      fuzz(&client, count, 1);
      printf("alive\n");
    } else
      return 2;
    fflush(stdout);
  }
  return 0;
}
