/* An MQTT-SN 1.2 client in C99: no malloc, no recursion, one struct per client. Connect (without a will), register, publish at QoS -1, 0 and
 * 1, subscribe at QoS 0 and 1, sleep; with a key, the seal of ../mqttsn/README.md.
 *
 * A QoS 1 message that sluice_sn_publish has taken is kept in the struct until the gateway says it is on disk, and sent again as often as needed,
 * over lost connections as well. One request and one message are under way at a time, as the standard has it (section 6.12). All calls come from one
 * thread; none of them blocks longer than `send` does.
 *
 *   sluice_sn_init, sluice_sn_connect; then in the main loop: each datagram to sluice_sn_receive, and sluice_sn_poll.
 */
#ifndef SLUICE_MQTTSN_H
#define SLUICE_MQTTSN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Longest message, bytes, both ways: 7 around a payload. */
#ifndef SLUICE_SN_MAX_MESSAGE
#define SLUICE_SN_MAX_MESSAGE 128
#endif
/* Topics whose id is remembered, and the longest name, bytes. Of many the one used least recently gives way. */
#ifndef SLUICE_SN_MAX_TOPICS
#define SLUICE_SN_MAX_TOPICS 6
#endif
#ifndef SLUICE_SN_MAX_TOPIC
#define SLUICE_SN_MAX_TOPIC 32
#endif
/* What is not answered by then is sent again; after so many times the gateway is taken for lost and connected to anew. */
#ifndef SLUICE_SN_RETRY_MS
#define SLUICE_SN_RETRY_MS 5000u
#endif
#ifndef SLUICE_SN_MAX_RETRIES
#define SLUICE_SN_MAX_RETRIES 3
#endif
/* 0 leaves out the seal: nothing of sluice_auth.c is needed then. */
#ifndef SLUICE_SN_AUTH
#define SLUICE_SN_AUTH 1
#endif

/* Results of calls and of messages. */
#define SLUICE_SN_OK 0
#define SLUICE_SN_BUSY (-1)      /* a request or a message is under way: try again after it */
#define SLUICE_SN_TOO_LARGE (-2) /* longer than SLUICE_SN_MAX_MESSAGE or SLUICE_SN_MAX_TOPIC */
#define SLUICE_SN_OFFLINE (-3)   /* not connected */
#define SLUICE_SN_REFUSED (-4)   /* the gateway does not take this: topic not valid, or not allowed */

typedef enum {
  SLUICE_SN_DISCONNECTED,
  SLUICE_SN_CONNECTING, /* also while a lost connection is made again */
  SLUICE_SN_ACTIVE,
  SLUICE_SN_ASLEEP,
  SLUICE_SN_AWAKE /* sluice_sn_wake: messages come, until it is asleep again */
} sluice_sn_state;

/* A message of any type; what it does not have is 0. `rest` is a view. */
typedef struct {
  uint8_t type, flags;
  uint8_t byte; /* return code, gateway id, radius or protocol id */
  uint16_t topic_id, message_id, duration;
  const uint8_t *rest; /* payload, topic, client id, or a gateway's address */
  size_t rest_length;
} sluice_sn_message;

typedef struct {
  void *context;
  /* Sends one datagram; what it cannot take is lost, which the protocol survives. */
  void (*send)(void *context, const uint8_t *bytes, size_t count);
  /* Milliseconds since some moment; may wrap. */
  uint32_t (*now_ms)(void *context);
  /* Only with a key: bytes that nobody can foretell. */
  void (*random)(void *context, uint8_t *bytes, size_t count);
  /* May be NULL, like all below. */
  void (*on_state)(void *context, sluice_sn_state state);
  /* Once per QoS 1 message: SLUICE_SN_OK when it is on disk, else why it never will be. */
  void (*on_settled)(void *context, uint16_t message_id, int result);
  /* `result`: the QoS granted, or SLUICE_SN_REFUSED. */
  void (*on_subscribed)(void *context, int result);
  /* `topic` ends with a NUL; of a predefined topic it is empty, and `topic_id` says which. */
  void (*on_message)(void *context, const char *topic, uint16_t topic_id, const uint8_t *payload, size_t length,
                     int retained);
} sluice_sn_io;

typedef struct {
  uint16_t id; /* 0: not told yet */
  uint16_t used;
  char name[SLUICE_SN_MAX_TOPIC + 1];
} sluice_sn_topic;

/* Something that is sent until it is answered. */
typedef struct {
  uint8_t type; /* 0: none */
  uint8_t attempts, sent;
  uint16_t length;
  uint32_t sent_ms;
  uint8_t bytes[SLUICE_SN_MAX_MESSAGE];
} sluice_sn_request;

typedef struct {
  sluice_sn_io io;
  const char *client_id;
  sluice_sn_state state;
  uint16_t keepalive_s, sleep_s;
  uint16_t last_message_id, last_request_id, resume_id, clock;
  uint8_t clean, message_waits, register_for, subscribe_qos;
  uint32_t sent_ms, heard_ms;
  uint32_t ignored; /* datagrams that were damaged, forged or made no sense */
  sluice_sn_request request; /* anything but a message */
  sluice_sn_request message; /* PUBLISH that waits for its topic id or PUBACK */
  sluice_sn_topic topics[SLUICE_SN_MAX_TOPICS];
  char subscribed[SLUICE_SN_MAX_TOPIC + 1];
#if SLUICE_SN_AUTH
  const uint8_t *key;
  uint8_t key_length, sealed, hello_sent;
  uint8_t device_nonce[8], session[4], session_key[32];
  uint32_t hello_ms, number, highest, seen;
#endif
} sluice_sn_client;

/* `client_id`: 1 to 64 bytes of UTF-8; it and the key stay the caller's and must stay valid. */
void sluice_sn_init(sluice_sn_client *client, const char *client_id, const sluice_sn_io *io);

/* After sluice_sn_init, for a device that keeps its messages over a reset: `message_id` is that of the oldest that was not settled (ids go up by one from
 * message to message, from 1 after 65535), and the same message must be published next, at QoS 1. Then it is stored once, whatever became of it before; with a session that is kept (`clean` 0), and exactly under a key. */
void sluice_sn_resume(sluice_sn_client *client, uint16_t message_id);

#if SLUICE_SN_AUTH
/* After sluice_sn_init: everything is sealed with this key, 16 to 64 bytes, and nothing else is heard. */
void sluice_sn_use_key(sluice_sn_client *client, const uint8_t *key, size_t length);
#endif

/* Connects, and again whenever the connection is lost, until sluice_sn_disconnect. `clean`: a session that was there before is forgotten; from then on
 * it is kept either way. Subscribe when on_state says that it is active: to do so again costs nothing but the retained messages. */
int sluice_sn_connect(sluice_sn_client *client, uint16_t keepalive_s, int clean);
int sluice_sn_disconnect(sluice_sn_client *client);

/* Messages wait at the gateway until sluice_sn_wake; call that within `seconds`. Back with sluice_sn_connect. */
int sluice_sn_sleep(sluice_sn_client *client, uint16_t seconds);
int sluice_sn_wake(sluice_sn_client *client);

/* One datagram. */
void sluice_sn_receive(sluice_sn_client *client, const uint8_t *bytes, size_t count);

/* Sends what is due. Call it often: at least every SLUICE_SN_RETRY_MS / 4. */
void sluice_sn_poll(sluice_sn_client *client);

/* A topic of two bytes is a short one and needs no id. `qos`: 0 or 1. `message_id` (may be NULL) is what on_settled will be told. */
int sluice_sn_publish(sluice_sn_client *client, const char *topic, const void *payload, size_t length, int qos, int retain,
                      uint16_t *message_id);
/* `qos`: -1 (no connection needed), 0 or 1. */
int sluice_sn_publish_predefined(sluice_sn_client *client, uint16_t topic_id, const void *payload, size_t length, int qos,
                                 int retain, uint16_t *message_id);

/* `qos`: 0 or 1. Wildcards are fine. on_subscribed tells how it went. */
int sluice_sn_subscribe(sluice_sn_client *client, const char *filter, int qos);
int sluice_sn_unsubscribe(sluice_sn_client *client, const char *filter);

/* The codec: 0 when the bytes are not one message of MQTT-SN 1.2; the number of bytes written, 0 when they do not fit. */
int sluice_sn_read(const uint8_t *bytes, size_t count, sluice_sn_message *message);
size_t sluice_sn_write(const sluice_sn_message *message, uint8_t *bytes, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
