/* Any bytes on the line: libFuzzer's entry. Every input runs with and without a key, online, with a message and a subscription under way.
 *   mkdir -p corpus && clang -g -O1 -fsanitize=fuzzer,address,undefined -DSLUICE_AUTH=1 -I.. fuzz_serial.c ../sluice_auth.c -o fuzz_serial && ./fuzz_serial corpus/
 * The file includes the source: the fuzzer reaches states that a hello would guard, such as being welcomed. */
#include "../sluice_serial.c"
#include "stubs.h"

static void on_message(void *context, const char *topic, const uint8_t *payload, size_t length, int retained) {
  volatile size_t sum = strlen(topic);
  (void)context;
  (void)retained;
  while (length > 0) sum += payload[--length];
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  static sluice_client client;
  static const uint8_t key[16] = {1};
  size_t at, step = count > 0 ? 1 + bytes[0] % 32u : 1;
  int keyed;
  for (keyed = 0; keyed < 2; keyed++) {
    sluice_io io = {0};
    io.write = ignore;
    io.now_ms = now;
    io.random = zeros;
    io.on_message = on_message;
    sluice_init(&client, "fuzz", &io);
    if (keyed) sluice_set_key(&client, key, sizeof key);
    client.connected = !keyed;
    client.hello_sent = 1;
    client.epoch = 7;
    sluice_publish(&client, "t", "21.5", 4, 0, NULL);
    sluice_subscribe(&client, "cmd/#", 1, NULL);
    for (at = 0; at < count; at += step) {
      sluice_receive(&client, bytes + at, count - at < step ? count - at : step);
      clock_ms += 37;
      sluice_poll(&client);
    }
  }
  return 0;
}
