/* Any datagrams: libFuzzer's entry. An input is a row of datagrams, each behind a byte with its length, and each also goes through the codec.
 *   mkdir -p corpus && clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_mqttsn.c ../sluice_auth.c -o fuzz_mqttsn && ./fuzz_mqttsn corpus/
 * The file includes the source: the fuzzer reaches states that a seal would guard. */
#include "../sluice_mqttsn.c"
#include "stubs.h"

static void on_message(void *context, const char *topic, uint16_t topic_id, const uint8_t *payload, size_t length,
                       int retained) {
  volatile size_t sum = strlen(topic);
  (void)context;
  (void)topic_id;
  (void)retained;
  while (length > 0) sum += payload[--length];
}

static void codec(const uint8_t *bytes, size_t count) {
  uint8_t copy[600];
  sluice_sn_message message;
  if (sluice_sn_read(bytes, count, &message)) (void)sluice_sn_write(&message, copy, sizeof copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  static sluice_sn_client client;
  static const uint8_t key[16] = {1};
  int keyed;
  for (keyed = 0; keyed < 2; keyed++) {
    sluice_sn_io io = {0};
    size_t at = 1;
    io.send = ignore;
    io.now_ms = now;
    io.random = zeros;
    io.on_message = on_message;
    sluice_sn_init(&client, "fuzz", &io);
    if (keyed) sluice_sn_use_key(&client, key, sizeof key);
    sluice_sn_connect(&client, 30, 1);
    sluice_sn_poll(&client);
    if (count > 0 && bytes[0] & 1) client.state = SLUICE_SN_ACTIVE;
    if (count > 0 && bytes[0] & 2) sluice_sn_publish(&client, "plant/m", "21.5", 4, 1, 0, NULL);
    if (count > 0 && bytes[0] & 4) sluice_sn_subscribe(&client, "cmd/#", 1);
    if (count > 0 && bytes[0] & 8) sluice_sn_sleep(&client, 10);
    while (at < count) {
      size_t length = bytes[at++];
      if (length > count - at) length = count - at;
      codec(bytes + at, length);
      sluice_sn_receive(&client, bytes + at, length);
      at += length;
      clock_ms += 61;
      sluice_sn_poll(&client);
    }
  }
  return 0;
}
