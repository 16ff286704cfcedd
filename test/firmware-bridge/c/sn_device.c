/* A device on UDP, the C client as a process:
 *   sn_device PORT ID KEY|- publish RUN LAST     RUN-1 to RUN-LAST to plant/ID/m at QoS 1; prints "A RUN-n" for each that is on disk, then ends
 *   sn_device PORT ID KEY|- keep RUN LAST FLASH  the same, going on after a reset where the file FLASH says
 *   sn_device PORT ID KEY|- listen FILTER COUNT  prints "S" once subscribed, "M topic payload" for each message, ends after COUNT
 *   sn_device PORT ID KEY|- sleep FILTER COUNT   the same, asleep: wakes each time a line comes on stdin, prints "Z" whenever it has fallen asleep */
#define _XOPEN_SOURCE 700
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../../firmware-bridge/c/sluice_mqttsn.h"

static int fd, flash = -1;
static const char *run = "", *filter = "";
static char topic[64];
static unsigned long last, settled_count, taken_count;
static int subscribed, falls_asleep;
static sluice_sn_client client;

static void put_datagram(void *context, const uint8_t *bytes, size_t count) {
  ssize_t sent = send(fd, bytes, count, 0);
  (void)context;
  (void)sent;
}
static uint32_t now_ms(void *context) {
  struct timespec now;
  (void)context;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}
static void fill(void *context, uint8_t *bytes, size_t count) {
  FILE *file = fopen("/dev/urandom", "rb");
  (void)context;
  if (file == NULL || fread(bytes, 1, count, file) != count) exit(3);
  fclose(file);
}
static void settled(void *context, uint16_t message_id, int result) {
  (void)context;
  (void)message_id;
  if (result != SLUICE_SN_OK) exit(4);
  printf("A %s-%lu\n", run, ++settled_count);
  fflush(stdout);
  if (flash >= 0 && pwrite(flash, &settled_count, sizeof settled_count, 0) < 0) exit(6);
}
static void on_state(void *context, sluice_sn_state state) {
  (void)context;
  if (state == SLUICE_SN_ASLEEP) printf("Z\n");
  fflush(stdout);
}
static void on_subscribed(void *context, int result) {
  (void)context;
  if (result == SLUICE_SN_REFUSED) exit(5);
  if (result < 0) return;
  subscribed = 1;
  printf("S\n");
  fflush(stdout);
}
static void on_message(void *context, const char *name, uint16_t topic_id, const uint8_t *payload, size_t length,
                       int retained) {
  (void)context;
  (void)topic_id;
  (void)retained;
  taken_count++;
  printf("M %s %.*s\n", name, (int)length, (const char *)payload);
  fflush(stdout);
}

static size_t parse_key(const char *hex, uint8_t *key) {
  size_t count = 0;
  unsigned byte;
  while (count < 64 && sscanf(hex + 2 * count, "%2x", &byte) == 1) key[count++] = (uint8_t)byte;
  return count;
}

static void work(const char *mode) {
  int listens = strcmp(mode, "publish") != 0 && flash < 0;
  if (!listens && settled_count + (client.message.type != 0) < last) {
    char payload[64];
    int length = snprintf(payload, sizeof payload, "%s-%lu", run, settled_count + 1);
    sluice_sn_publish(&client, topic, payload, (size_t)length, 1, 0, NULL);
  }
  if (listens && !subscribed && client.state == SLUICE_SN_ACTIVE) sluice_sn_subscribe(&client, filter, 1);
  if (subscribed && falls_asleep && client.state == SLUICE_SN_ACTIVE) sluice_sn_sleep(&client, 60);
}

int main(int argc, char **argv) {
  static uint8_t key[64];
  struct sockaddr_in to = {0};
  sluice_sn_io io = {0};
  if (argc != 7 && argc != 8) return 2;
  fd = socket(AF_INET, SOCK_DGRAM, 0);
  to.sin_family = AF_INET;
  to.sin_port = htons((uint16_t)atoi(argv[1]));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) return 2;
  snprintf(topic, sizeof topic, "plant/%.32s/m", argv[2]);
  run = filter = argv[5];
  last = strtoul(argv[6], NULL, 10);
  falls_asleep = strcmp(argv[4], "sleep") == 0;
  io.send = put_datagram;
  io.now_ms = now_ms;
  io.random = fill;
  io.on_settled = settled;
  io.on_state = on_state;
  io.on_subscribed = on_subscribed;
  io.on_message = on_message;
  sluice_sn_init(&client, argv[2], &io);
  if (argc == 8) {
    flash = open(argv[7], O_RDWR | O_CREAT, 0600);
    if (flash < 0 || pread(flash, &settled_count, sizeof settled_count, 0) < 0) return 2;
    /* Message n has the id of n, so that nothing else need be kept. */
    sluice_sn_resume(&client, (uint16_t)(settled_count % 65535 + 1));
  }
  if (argv[3][0] != '-') sluice_sn_use_key(&client, key, parse_key(argv[3], key));
  /* One that listens is silent for as long as can be. */
  sluice_sn_connect(&client, strcmp(argv[4], "listen") == 0 ? 600 : 2, flash < 0);
  while (settled_count < last && taken_count < last) {
    struct pollfd ready[2] = {{0}, {0}};
    uint8_t bytes[512];
    ssize_t count;
    work(argv[4]);
    sluice_sn_poll(&client);
    ready[0].fd = fd;
    ready[1].fd = falls_asleep ? 0 : -1;
    ready[0].events = ready[1].events = POLLIN;
    poll(ready, 2, 5);
    while ((count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) sluice_sn_receive(&client, bytes, (size_t)count);
    if ((ready[1].revents & POLLIN) && client.state == SLUICE_SN_ASLEEP && read(0, bytes, 1) == 1) sluice_sn_wake(&client);
  }
  printf("ignored %lu\n", (unsigned long)client.ignored);
  return 0;
}
