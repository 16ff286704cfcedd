/* The device's side of the serial protocol (../serial/README.md): C99, no malloc, no recursion, one struct per line.
 *
 * A message that sluice_publish has taken is kept in the struct until the bridge says it is on disk, and sent again as often as needed. All calls come
 * from one thread; none of them blocks longer than `write` does. Nothing is called back but from sluice_receive and sluice_poll, and sluice_publish,
 * sluice_subscribe, sluice_log and sluice_report may be called from a callback. RAM is sizeof(sluice_client).
 */
#ifndef SLUICE_SERIAL_H
#define SLUICE_SERIAL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Messages kept until they are acknowledged. */
#ifndef SLUICE_WINDOW
#define SLUICE_WINDOW 4
#endif
/* Longest body of a message, bytes: topic + payload + 14. */
#ifndef SLUICE_MAX_BODY
#define SLUICE_MAX_BODY 200
#endif
/* Messages to the device that may be under way; 0 leaves out everything about subscribing. */
#ifndef SLUICE_RECEIVE_WINDOW
#define SLUICE_RECEIVE_WINDOW 4
#endif
/* Longest frame to the device, bytes: topic + payload + 25. */
#ifndef SLUICE_MAX_RECEIVE
#define SLUICE_MAX_RECEIVE (SLUICE_RECEIVE_WINDOW > 0 ? 128 : 48)
#endif
/* Longest topic filter to subscribe to, bytes. */
#ifndef SLUICE_MAX_FILTER
#define SLUICE_MAX_FILTER 48
#endif
/* 1: the device has a key, and both sides prove that they have it (needs sluice_auth.c). */
#ifndef SLUICE_AUTH
#define SLUICE_AUTH 0
#endif
/* What is not acknowledged by then is sent again. */
#ifndef SLUICE_RETRY_MS
#define SLUICE_RETRY_MS 1000u
#endif
/* A silent line is pinged; one that stays silent for three times as long is taken for lost. */
#ifndef SLUICE_PING_MS
#define SLUICE_PING_MS 5000u
#endif

/* Results of calls and of messages. */
#define SLUICE_OK 0
#define SLUICE_BUSY (-1)      /* no room: try again after a sluice_poll */
#define SLUICE_TOO_LARGE (-2) /* longer than the buffers here or than the bridge takes */
#define SLUICE_OFFLINE (-3)   /* not welcomed by the bridge */
#define SLUICE_REFUSED (-4)   /* the node does not take this message: topic not valid, or not allowed */

/* What a subscription is answered with; 0 and 1 are the QoS it was granted. */
#define SLUICE_UNSUBSCRIBED 0x40u
#define SLUICE_SUBSCRIBE_REFUSED 0x80u /* and everything above */

/* Callbacks may be NULL, save the first two; with SLUICE_AUTH `random` too. */
typedef struct {
  void *context;
  /* Puts bytes on the line; what it cannot take is lost, which the protocol survives. */
  void (*write)(void *context, const uint8_t *bytes, size_t count);
  /* Milliseconds since some moment; may wrap. */
  uint32_t (*now_ms)(void *context);
  /* Once per message: SLUICE_OK when it is on disk (in order), else why it never will be. */
  void (*on_settled)(void *context, uint32_t sequence, int result);
  /* The bridge has welcomed the device; keep `epoch` beside stored messages if they shall survive a reset. */
  void (*on_welcome)(void *context, uint32_t epoch);
  /* The answer to sluice_request_time, milliseconds since 1970. */
  void (*on_time)(void *context, uint64_t wall_ms);
#if SLUICE_RECEIVE_WINDOW > 0
  /* A message for the device; topic (ended by a NUL) and payload are valid during the call. Of QoS 1: at least once. */
  void (*on_message)(void *context, const char *topic, const uint8_t *payload, size_t length, int retained);
  /* The answer to sluice_subscribe or sluice_unsubscribe. */
  void (*on_subscribed)(void *context, uint32_t id, uint32_t result);
#endif
#if SLUICE_AUTH
  /* Bytes that were never here before: from a hardware generator, or a counter kept in flash. */
  void (*random)(void *context, uint8_t *bytes, size_t count);
#endif
} sluice_io;

typedef struct {
  uint16_t length;
  uint8_t settled; /* refused already: a void goes in its place */
  uint8_t body[SLUICE_MAX_BODY];
} sluice_slot;

typedef struct {
  sluice_io io;
  const char *device;
  uint32_t epoch;
  uint32_t base; /* oldest unacknowledged */
  uint32_t sent; /* next to be sent */
  uint32_t next; /* next to be taken */
  uint32_t window;
  uint32_t max_content;
  uint32_t progress_ms, heard_ms, hello_ms, ping_ms;
  uint32_t damaged_frames;
  uint8_t connected, hello_sent, attempts;
  uint8_t rx_left, rx_zero_follows, rx_overflow;
  uint16_t rx_length;
  uint8_t rx[SLUICE_MAX_RECEIVE + 1];
#if SLUICE_RECEIVE_WINDOW > 0
  uint32_t received; /* all messages to here */
  uint32_t request_id, request_ms;
  uint16_t request_length;
  uint8_t request[SLUICE_MAX_FILTER + 9];
#endif
#if SLUICE_AUTH
  const uint8_t *key;
  uint8_t key_length;
  uint8_t nonce[8];
  uint8_t session_key[32];
  uint32_t tx_counter, rx_counter;
  uint32_t forged_frames;
#endif
  sluice_slot slots[SLUICE_WINDOW];
} sluice_client;

/* `device`: 1 to 64 bytes of UTF-8; stays the caller's, must stay valid. */
void sluice_init(sluice_client *client, const char *device, const sluice_io *io);

/* After sluice_init, before anything else: goes on with the numbers of before a reset. `sequence` is that of the oldest message that was not settled;
 * the same messages must then be published again, in the same order. */
void sluice_resume(sluice_client *client, uint32_t epoch, uint32_t sequence);

#if SLUICE_AUTH
/* After sluice_init, before anything else. `key`: 16 to 64 bytes; stays the caller's, must stay valid. */
void sluice_set_key(sluice_client *client, const uint8_t *key, size_t length);
#endif

/* Bytes from the line, any number, in any pieces. */
void sluice_receive(sluice_client *client, const uint8_t *bytes, size_t count);

/* Sends what is due. Call it often: at least every SLUICE_RETRY_MS / 4. */
void sluice_poll(sluice_client *client);

/* Takes a message; topic and payload are copied. *sequence (may be NULL) is what on_settled will name. */
int sluice_publish(sluice_client *client, const char *topic, const void *payload, size_t length, int retain, uint32_t *sequence);

#if SLUICE_RECEIVE_WINDOW > 0
/* Asks until it is answered, across resets of the line; one at a time. The node remembers subscriptions of a device, also while it is away. */
int sluice_subscribe(sluice_client *client, const char *filter, int qos, uint32_t *id);
int sluice_unsubscribe(sluice_client *client, const char *filter, uint32_t *id);
#endif

/* Sent once, not repeated when lost. */
int sluice_request_time(sluice_client *client);
int sluice_log(sluice_client *client, int level, const char *text);
/* What is not known: percent -1, millivolts 0, dbm 1. */
int sluice_report(sluice_client *client, int battery_percent, unsigned battery_millivolts, int signal_dbm);

#ifdef __cplusplus
}
#endif
#endif
