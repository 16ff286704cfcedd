/* The device's side of the serial protocol (../serial/README.md): C99, no malloc, no recursion, one struct per line.
 *
 * A message that sluice_publish has taken is kept in the struct until the bridge says it is on disk, and sent again as often as needed. All calls come
 * from one thread; none of them blocks longer than `write` does. RAM is sizeof(sluice_client): about SLUICE_WINDOW * SLUICE_MAX_BODY +
 * SLUICE_MAX_BODY + 400 bytes.
 */
#ifndef SLUICE_SERIAL_H
#define SLUICE_SERIAL_H

#include <stddef.h>
#include <stdint.h>

/* Messages kept until they are acknowledged. */
#ifndef SLUICE_WINDOW
#define SLUICE_WINDOW 4
#endif
/* Longest body, bytes: topic + payload + 14. */
#ifndef SLUICE_MAX_BODY
#define SLUICE_MAX_BODY 200
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
#define SLUICE_BUSY (-1)      /* the window is full: try again after a sluice_poll */
#define SLUICE_TOO_LARGE (-2) /* longer than SLUICE_MAX_BODY or than the bridge takes */
#define SLUICE_OFFLINE (-3)   /* not welcomed by the bridge */
#define SLUICE_REFUSED (-4)   /* the node does not take this message: topic not valid, or not allowed */

typedef struct {
  void *context;
  /* Puts bytes on the line; what it cannot take is lost, which the protocol survives. */
  void (*write)(void *context, const uint8_t *bytes, size_t count);
  /* Milliseconds since some moment; may wrap. */
  uint32_t (*now_ms)(void *context);
  /* Once per message: SLUICE_OK when it is on disk (in order), else why it never will be. May be NULL. */
  void (*on_settled)(void *context, uint32_t sequence, int result);
  /* The answer to sluice_request_time, milliseconds since 1970. May be NULL. */
  void (*on_time)(void *context, uint64_t wall_ms);
  /* The bridge has welcomed the device; keep `epoch` beside stored messages if they shall survive a reset. May be NULL. */
  void (*on_welcome)(void *context, uint32_t epoch);
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
  uint8_t connected, hello_sent, attempts;
  uint8_t rx_left, rx_zero_follows, rx_overflow;
  uint16_t rx_length;
  uint32_t damaged_frames;
  uint8_t rx[SLUICE_MAX_BODY + 4];
  sluice_slot slots[SLUICE_WINDOW];
} sluice_client;

/* `device`: 1 to 64 bytes of UTF-8; stays the caller's, must stay valid. */
void sluice_init(sluice_client *client, const char *device, const sluice_io *io);

/* After sluice_init, before anything else: goes on with the numbers of before a reset. `sequence` is that of the oldest message that was not settled;
 * the same messages must then be published again, in the same order. */
void sluice_resume(sluice_client *client, uint32_t epoch, uint32_t sequence);

/* Bytes from the line, any number, in any pieces. */
void sluice_receive(sluice_client *client, const uint8_t *bytes, size_t count);

/* Sends what is due. Call it often: at least every SLUICE_RETRY_MS / 4. */
void sluice_poll(sluice_client *client);

/* Takes a message; topic and payload are copied. *sequence (may be NULL) is what on_settled will name. */
int sluice_publish(sluice_client *client, const char *topic, const void *payload, size_t length, int retain, uint32_t *sequence);

/* Sent once, not repeated when lost. */
int sluice_request_time(sluice_client *client);
int sluice_log(sluice_client *client, int level, const char *text);

#endif
