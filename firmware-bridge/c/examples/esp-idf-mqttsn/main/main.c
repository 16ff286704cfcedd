/* An ESP32 on a network: readings over MQTT-SN under a key, and commands from the node. Wi-Fi is brought up as in ESP-IDF's station example, before
 * sluice_task is started.
 *
 * At the gateway (openssl rand -hex 16 makes a key):
 *
 *   [[firmware]]
 *   name = "radio"
 *   type = "mqtt-sn"
 *   listen = ["*:1884"]
 *   [[firmware.device]]
 *   id = "tank-3"
 *   key = "…"
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "esp_log.h"
#include "esp_random.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "lwip/sockets.h"

#include "sluice_mqttsn.h"

#ifndef GATEWAY_ADDRESS
#define GATEWAY_ADDRESS "192.168.1.5"
#endif
#define GATEWAY_PORT 1884
#define INTERVAL_MS 10000u
#define KEEPALIVE_S 60u

/* Your own, from the output of openssl; better read from NVS. */
static const uint8_t KEY[16] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f};
static const char TAG[] = "sluice";

static sluice_sn_client client;
static int gateway = -1;
static int wants_commands;

static uint32_t now_ms(void *context) {
  (void)context;
  return (uint32_t)(esp_timer_get_time() / 1000);
}

static void put_datagram(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  if (send(gateway, bytes, count, 0) < 0) ESP_LOGD(TAG, "not sent: %d", errno);
}

static void fill(void *context, uint8_t *bytes, size_t count) {
  (void)context;
  esp_fill_random(bytes, count);
}

static void on_state(void *context, sluice_sn_state state) {
  (void)context;
  if (state == SLUICE_SN_ACTIVE) wants_commands = 1;
}

static void on_settled(void *context, uint16_t message_id, int result) {
  (void)context;
  if (result == SLUICE_SN_OK)
    ESP_LOGI(TAG, "message %u is on disk", (unsigned)message_id);
  else
    ESP_LOGW(TAG, "message %u will never be: %d", (unsigned)message_id, result);
}

static void on_message(void *context, const char *topic, uint16_t topic_id, const uint8_t *payload, size_t length,
                       int retained) {
  (void)context;
  (void)topic_id;
  (void)retained;
  ESP_LOGI(TAG, "%s: %.*s", topic, (int)length, (const char *)payload);
}

static int open_gateway(void) {
  struct sockaddr_in address;
  int socket_fd = socket(AF_INET, SOCK_DGRAM, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons(GATEWAY_PORT);
  address.sin_addr.s_addr = inet_addr(GATEWAY_ADDRESS);
  if (socket_fd < 0 || connect(socket_fd, (struct sockaddr *)&address, sizeof address) != 0) return -1;
  return socket_fd;
}

void sluice_task(void *argument) {
  static uint8_t datagram[256];
  sluice_sn_io io;
  uint32_t read_ms = 0;
  unsigned level_mm = 0; /* of your sensor */
  (void)argument;
  gateway = open_gateway();
  if (gateway < 0) {
    ESP_LOGE(TAG, "no socket");
    vTaskDelete(NULL);
    return;
  }
  memset(&io, 0, sizeof io);
  io.send = put_datagram;
  io.now_ms = now_ms;
  io.random = fill;
  io.on_state = on_state;
  io.on_settled = on_settled;
  io.on_message = on_message;
  sluice_sn_init(&client, "tank-3", &io);
  sluice_sn_use_key(&client, KEY, sizeof KEY);
  sluice_sn_connect(&client, KEEPALIVE_S, 0);
  for (;;) {
    int count;
    while ((count = (int)recv(gateway, datagram, sizeof datagram, MSG_DONTWAIT)) > 0)
      sluice_sn_receive(&client, datagram, (size_t)count);
    if (wants_commands && sluice_sn_subscribe(&client, "cmd/#", 1) == SLUICE_SN_OK) wants_commands = 0;
    if (now_ms(NULL) - read_ms >= INTERVAL_MS) {
      char text[16];
      int length = snprintf(text, sizeof text, "%u", level_mm);
      /* SLUICE_SN_BUSY: the reading before is not acknowledged yet. */
      if (sluice_sn_publish(&client, "level", text, (size_t)length, 1, 0, NULL) == SLUICE_SN_OK) read_ms = now_ms(NULL);
    }
    sluice_sn_poll(&client);
    vTaskDelay(pdMS_TO_TICKS(20));
  }
}

void app_main(void) {
  /* example_connect() of ESP-IDF's protocol examples, or your own Wi-Fi, goes here. */
  xTaskCreate(sluice_task, "sluice", 4096, NULL, 5, NULL);
}
