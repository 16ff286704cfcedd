/* A sensor on a serial line: a reading every ten seconds, kept until it is on disk at the gateway, and a lamp that the node switches.
 *
 * Copy sluice_serial.h and sluice_serial.c next to this file and open it with the Arduino IDE. At the gateway:
 *
 *   [[firmware]]
 *   name = "bus"
 *   ports = ["/dev/ttyACM*"]
 *
 * Readings arrive as devices/greenhouse-1/light. The lamp: publish "1" or "0" to devices/greenhouse-1/lamp. Nothing else may use `Serial`. On a board
 * with 2 KB of RAM (Uno) put -DSLUICE_WINDOW=2 -DSLUICE_MAX_BODY=64 into the flags of the build (platform.local.txt, or build_flags of PlatformIO).
 */
#include <Arduino.h>

#include "sluice_serial.h"

static const char DEVICE[] = "greenhouse-1";
static const unsigned long INTERVAL_MS = 10000;

static sluice_client client;
static unsigned long read_ms;
static bool subscribed;

static void to_line(void *, const uint8_t *bytes, size_t count) { Serial.write(bytes, count); }
static uint32_t now_ms(void *) { return millis(); }

static void on_welcome(void *, uint32_t) { subscribed = false; }

static void on_message(void *, const char *topic, const uint8_t *payload, size_t length, int) {
  if (strcmp(topic, "lamp") == 0 && length == 1) digitalWrite(LED_BUILTIN, payload[0] == '1' ? HIGH : LOW);
}

void setup() {
  sluice_io io = {};
  pinMode(LED_BUILTIN, OUTPUT);
  Serial.begin(115200);
  io.write = to_line;
  io.now_ms = now_ms;
  io.on_welcome = on_welcome;
  io.on_message = on_message;
  sluice_init(&client, DEVICE, &io);
}

void loop() {
  while (Serial.available() > 0) {
    const uint8_t byte = static_cast<uint8_t>(Serial.read());
    sluice_receive(&client, &byte, 1);
  }
  if (!subscribed && client.connected) subscribed = sluice_subscribe(&client, "lamp", 1, NULL) == SLUICE_OK;
  if (millis() - read_ms >= INTERVAL_MS) {
    char text[8];
    snprintf(text, sizeof text, "%d", analogRead(A0));
    /* SLUICE_BUSY: as many as there is room for wait for their ack already; this reading is tried again in the next round. */
    if (sluice_publish(&client, "light", text, strlen(text), 0, NULL) == SLUICE_OK) read_ms = millis();
  }
  sluice_poll(&client);
}
