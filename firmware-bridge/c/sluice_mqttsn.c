/* See sluice_mqttsn.h; the grammar is in ../mqttsn/codec.ts, the seal's in ../mqttsn/secure-sessions.ts. */
#include "sluice_mqttsn.h"

#include <string.h>

#if SLUICE_SN_AUTH
#include "sluice_auth.h"
#endif

enum { CONNECT = 0x04, CONNACK = 0x05, REGISTER = 0x0a, REGACK = 0x0b, PUBLISH = 0x0c, PUBACK = 0x0d };
enum { SUBSCRIBE = 0x12, SUBACK = 0x13, UNSUBSCRIBE = 0x14, UNSUBACK = 0x15, PINGREQ = 0x16, PINGRESP = 0x17 };
enum { DISCONNECT = 0x18, LAST_TYPE = 0x1d };
enum { HELLO = 0xf0, CHALLENGE = 0xf1, SEALED = 0xf2, UNKNOWN = 0xf3 };
enum { DUP = 0x80, QOS_MASK = 0x60, QOS_1 = 0x20, RETAIN = 0x10, CLEAN = 0x04, ID_TYPE = 0x03 };
enum { NORMAL = 0, PREDEFINED = 1, SHORT = 2 };
enum { ACCEPTED = 0, CONGESTION = 1, INVALID_TOPIC_ID = 2, NOT_SUPPORTED = 3 };
enum { SEAL_BYTES = 20, NO_TOPIC = 0xff };

/* ---- codec: f flags, b byte, t topic id, m message id, d duration, + text of one byte or more, * bytes, ? all or nothing of what follows */

static const char *layout_of(uint8_t type) {
  static const char *const layouts[LAST_TYPE + 1] = {
      "bd", "b", "b*", NULL, "fbd+", "b", "",   "?f+",  "",    "*", "tm+", "tmb", "ftm*", "tmb", "m",
      "m",  "m", NULL, "fm+", "ftmb", "fm+", "m", "?+", "", "?d", NULL, "?f+", "b", "*", "b"};
  return type > LAST_TYPE ? NULL : layouts[type];
}

static uint16_t u16_at(const uint8_t *bytes) { return (uint16_t)((bytes[0] << 8) | bytes[1]); }

static int is_text(const uint8_t *text, size_t count) {
  size_t i = 0;
  while (i < count) {
    uint8_t lead = text[i++];
    size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (lead == 0 || (lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || count - i < more) return 0;
    if ((lead == 0xe0 && text[i] < 0xa0) || (lead == 0xed && text[i] > 0x9f)) return 0;
    if ((lead == 0xf0 && text[i] < 0x90) || (lead == 0xf4 && text[i] > 0x8f)) return 0;
    while (more-- > 0)
      if ((text[i++] & 0xc0) != 0x80) return 0;
  }
  return count > 0;
}

/* QoS -1 is for PUBLISH alone; the kind of a topic id says what follows. */
static int flags_fit(const sluice_sn_message *m) {
  int has_topic = m->type == SUBSCRIBE || m->type == UNSUBSCRIBE;
  uint8_t id_type = m->flags & ID_TYPE;
  if (m->type == PUBLISH) return id_type != 3;
  if (m->type != CONNECT && (m->flags & QOS_MASK) == QOS_MASK) return 0;
  if (!has_topic) return 1;
  return id_type != 3 && (id_type == NORMAL || m->rest_length == 2) &&
         (id_type == PREDEFINED || is_text(m->rest, m->rest_length));
}

int sluice_sn_read(const uint8_t *bytes, size_t count, sluice_sn_message *m) {
  const uint8_t *at = bytes, *end = bytes + count;
  const char *field;
  memset(m, 0, sizeof *m);
  if (count < 2) return 0;
  if (bytes[0] != 1) {
    if (bytes[0] != count) return 0;
    at += 1;
  } else {
    if (count < 4 || u16_at(bytes + 1) != count) return 0;
    at += 3;
  }
  m->type = *at++;
  field = layout_of(m->type);
  if (field == NULL) return 0;
  if (*field == '?') {
    if (at == end) return 1;
    field++;
  }
  for (; *field != '\0'; field++) {
    size_t left = (size_t)(end - at);
    if (*field == '+' || *field == '*') {
      m->rest = at;
      m->rest_length = left;
      at = end;
      if (*field == '+' && m->type != SUBSCRIBE && m->type != UNSUBSCRIBE && !is_text(m->rest, left)) return 0;
    } else if (*field == 'f' || *field == 'b') {
      if (left < 1) return 0;
      if (*field == 'f')
        m->flags = *at++;
      else
        m->byte = *at++;
    } else {
      if (left < 2) return 0;
      if (*field == 't')
        m->topic_id = u16_at(at);
      else if (*field == 'm')
        m->message_id = u16_at(at);
      else
        m->duration = u16_at(at);
      at += 2;
    }
  }
  return at == end && flags_fit(m);
}

static void put_u16(uint8_t *at, uint16_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

/* Puts the length in front of `count` bytes that lie at bytes + 3. @returns all bytes, 0 when they do not fit. */
static size_t put_length(uint8_t *bytes, size_t count) {
  if (count + 1 < 256) {
    memmove(bytes + 1, bytes + 3, count);
    bytes[0] = (uint8_t)(count + 1);
    return count + 1;
  }
  bytes[0] = 1;
  put_u16(bytes + 1, (uint16_t)(count + 3));
  return count + 3;
}

size_t sluice_sn_write(const sluice_sn_message *m, uint8_t *bytes, size_t capacity) {
  const char *field = layout_of(m->type);
  size_t at = 4;
  if (field == NULL || capacity < 12 + m->rest_length) return 0;
  bytes[3] = m->type;
  if (*field == '?') field = m->rest_length > 0 || m->duration > 0 ? field + 1 : "";
  for (; *field != '\0'; field++) {
    if (*field == '+' || *field == '*') {
      if (m->rest_length > 0) memcpy(bytes + at, m->rest, m->rest_length);
      at += m->rest_length;
    } else if (*field == 'f' || *field == 'b') {
      bytes[at++] = *field == 'f' ? m->flags : m->byte;
    } else {
      put_u16(bytes + at, *field == 't' ? m->topic_id : *field == 'm' ? m->message_id : m->duration);
      at += 2;
    }
  }
  return put_length(bytes, at - 3);
}

/* ---- the seal */

static uint32_t now_of(sluice_sn_client *c) { return c->io.now_ms(c->io.context); }

#if SLUICE_SN_AUTH
static uint32_t u32_at(const uint8_t *b) {
  return ((uint32_t)b[0] << 24) | ((uint32_t)b[1] << 16) | ((uint32_t)b[2] << 8) | b[3];
}

static void put_u32(uint8_t *at, uint32_t value) {
  put_u16(at, (uint16_t)(value >> 16));
  put_u16(at + 2, (uint16_t)value);
}

static void mac_of(const uint8_t *key, size_t key_length, const void *first, size_t first_length, const void *second,
                   size_t second_length, uint8_t *mac) {
  uint8_t whole[SLUICE_HMAC_BYTES];
  sluice_part parts[2];
  parts[0].bytes = first;
  parts[0].count = first_length;
  parts[1].bytes = second;
  parts[1].count = second_length;
  sluice_hmac(key, key_length, parts, 2, whole);
  memcpy(mac, whole, SLUICE_MAC_BYTES);
}

/* Direction, session and number, in front of the message. */
static void sealed_mac(const sluice_sn_client *c, uint8_t direction, uint32_t number, const uint8_t *message,
                       size_t length, uint8_t *mac) {
  uint8_t head[9];
  head[0] = direction;
  memcpy(head + 1, c->session, 4);
  put_u32(head + 5, number);
  mac_of(c->session_key, sizeof c->session_key, head, sizeof head, message, length, mac);
}

static void send_hello(sluice_sn_client *c) {
  uint8_t bytes[3 + 1 + 1 + 8 + 8 + 64];
  size_t id_length = strlen(c->client_id);
  if (id_length > 64) return;
  /* The same nonce until it is answered: a repeated hello is the same hello. */
  if (!c->hello_sent) c->io.random(c->io.context, c->device_nonce, sizeof c->device_nonce);
  c->hello_sent = 1;
  c->hello_ms = now_of(c);
  bytes[3] = HELLO;
  bytes[4] = 1;
  memcpy(bytes + 5, c->device_nonce, 8);
  mac_of(c->key, c->key_length, bytes + 3, 10, c->client_id, id_length, bytes + 13);
  memcpy(bytes + 21, c->client_id, id_length);
  c->io.send(c->io.context, bytes, put_length(bytes, 18 + id_length));
}

/* `at`: after the type. */
static int take_challenge(sluice_sn_client *c, const uint8_t *at, size_t count) {
  uint8_t mac[SLUICE_MAC_BYTES];
  size_t id_length = strlen(c->client_id);
  static const char label[8] = {'m', 'q', 't', 't', '-', 's', 'n', 1};
  sluice_part parts[3];
  if (count != 1 + 8 + 8 + SLUICE_MAC_BYTES || !c->hello_sent || memcmp(at + 1, c->device_nonce, 8) != 0) return 0;
  mac_of(c->key, c->key_length, at - 1, 18, c->client_id, id_length, mac);
  if (!sluice_mac_equal(mac, at + 17)) return 0;
  parts[0].bytes = label;
  parts[0].count = sizeof label;
  parts[1].bytes = at + 1;
  parts[1].count = 16;
  parts[2].bytes = c->client_id;
  parts[2].count = id_length;
  sluice_hmac(c->key, c->key_length, parts, 3, c->session_key);
  memcpy(c->session, at + 9, 4);
  c->number = c->highest = c->seen = 0;
  c->sealed = 1;
  c->hello_sent = 0;
  return 1;
}

/* Each number once (RFC 4303, section 3.4.3, with a window of 32). */
static int is_new(sluice_sn_client *c, uint32_t number) {
  uint32_t ahead, bit;
  if (number == 0) return 0;
  if (number > c->highest) {
    ahead = number - c->highest;
    c->seen = ahead >= 32 ? 1 : (c->seen << ahead) | 1;
    c->highest = number;
    return 1;
  }
  if (c->highest - number >= 32) return 0;
  bit = (uint32_t)1 << (c->highest - number);
  if (c->seen & bit) return 0;
  c->seen |= bit;
  return 1;
}

/* @returns the message inside, NULL when it is not for us to hear. */
static const uint8_t *open_datagram(sluice_sn_client *c, const uint8_t *bytes, size_t *count) {
  uint8_t mac[SLUICE_MAC_BYTES];
  size_t head = *count >= 4 && bytes[0] == 1 ? 3 : 1, length;
  const uint8_t *at = bytes + head + 1;
  if (*count < head + 1 || (head == 1 ? bytes[0] : u16_at(bytes + 1)) != *count) return NULL;
  length = *count - head - 1;
  if (bytes[head] == CHALLENGE && take_challenge(c, at, length)) {
    /* What was under way goes on at once under the new session. */
    c->request.sent_ms = c->message.sent_ms = now_of(c) - SLUICE_SN_RETRY_MS;
    *count = 0;
    return bytes;
  }
  if (bytes[head] == UNKNOWN && length == 4 && c->sealed && memcmp(at, c->session, 4) == 0) {
    /* A hint that anybody can give: it costs a hello. */
    c->sealed = 0;
    *count = 0;
    return bytes;
  }
  if (bytes[head] != SEALED || length < SEAL_BYTES - 2 || memcmp(at, c->session, 4) != 0) return NULL;
  *count = length - 16;
  sealed_mac(c, 1, u32_at(at + 4), at + 8, *count, mac);
  if (!sluice_mac_equal(mac, at + length - SLUICE_MAC_BYTES) || !is_new(c, u32_at(at + 4))) return NULL;
  return at + 8;
}

static void transmit(sluice_sn_client *c, const uint8_t *message, size_t length) {
  uint8_t bytes[SLUICE_SN_MAX_MESSAGE + SEAL_BYTES];
  if (c->key == NULL) {
    c->io.send(c->io.context, message, length);
    return;
  }
  if (!c->sealed || c->number == UINT32_MAX) return;
  c->number++;
  bytes[3] = SEALED;
  memcpy(bytes + 4, c->session, 4);
  put_u32(bytes + 8, c->number);
  memcpy(bytes + 12, message, length);
  sealed_mac(c, 0, c->number, message, length, bytes + 12 + length);
  c->io.send(c->io.context, bytes, put_length(bytes, 9 + length + SLUICE_MAC_BYTES));
}

void sluice_sn_use_key(sluice_sn_client *c, const uint8_t *key, size_t length) {
  c->key = key;
  c->key_length = (uint8_t)length;
}

static int may_send(const sluice_sn_client *c) { return c->key == NULL || c->sealed; }

/* The gateway sends nothing under a session before the device has. */
static int says_nothing_yet(const sluice_sn_client *c) { return c->key != NULL && c->sealed && c->number == 0; }
#else
static void transmit(sluice_sn_client *c, const uint8_t *message, size_t length) {
  c->io.send(c->io.context, message, length);
}

static int may_send(const sluice_sn_client *c) {
  (void)c;
  return 1;
}

static int says_nothing_yet(const sluice_sn_client *c) {
  (void)c;
  return 0;
}
#endif

/* ---- sending */

static void send_message(sluice_sn_client *c, const sluice_sn_message *m) {
  uint8_t bytes[SLUICE_SN_MAX_MESSAGE];
  size_t length = sluice_sn_write(m, bytes, sizeof bytes);
  if (length == 0) return;
  c->sent_ms = now_of(c);
  transmit(c, bytes, length);
}

/* What is to be sent until it is answered, from its type on. */
static uint8_t *body_of(sluice_sn_request *r) { return r->bytes + (r->bytes[0] == 1 ? 3 : 1); }

static void send_request(sluice_sn_client *c, sluice_sn_request *r) {
  r->sent = 1;
  r->sent_ms = c->sent_ms = now_of(c);
  transmit(c, r->bytes, r->length);
}

/* Sends it now, and again until it is answered. */
static int begin(sluice_sn_client *c, sluice_sn_request *r, const sluice_sn_message *m) {
  size_t length = sluice_sn_write(m, r->bytes, sizeof r->bytes);
  if (length == 0) return SLUICE_SN_TOO_LARGE;
  r->length = (uint16_t)length;
  r->type = m->type;
  r->attempts = 0;
  send_request(c, r);
  return SLUICE_SN_OK;
}

/* Messages have numbers of their own: the next one of a device that comes back from a reset is the last one's and one more. */
static uint16_t next_id(uint16_t *last) {
  if (++*last == 0) *last = 1;
  return *last;
}

static void set_state(sluice_sn_client *c, sluice_sn_state state) {
  if (c->state == state) return;
  c->state = state;
  if (c->io.on_state) c->io.on_state(c->io.context, state);
}

static void begin_connect(sluice_sn_client *c) {
  sluice_sn_message m = {0};
  m.type = CONNECT;
  m.flags = c->clean ? CLEAN : 0;
  m.byte = 1;
  m.duration = c->keepalive_s;
  m.rest = (const uint8_t *)c->client_id;
  m.rest_length = strlen(c->client_id);
  set_state(c, SLUICE_SN_CONNECTING);
  begin(c, &c->request, &m);
}

/* ---- topics */

static sluice_sn_topic *topic_named(sluice_sn_client *c, const char *name, size_t length) {
  size_t i;
  for (i = 0; i < SLUICE_SN_MAX_TOPICS; i++)
    if (c->topics[i].used && strlen(c->topics[i].name) == length && memcmp(c->topics[i].name, name, length) == 0)
      return &c->topics[i];
  return NULL;
}

static sluice_sn_topic *topic_with(sluice_sn_client *c, uint16_t id) {
  size_t i;
  for (i = 0; i < SLUICE_SN_MAX_TOPICS; i++)
    if (c->topics[i].used && c->topics[i].id == id) return &c->topics[i];
  return NULL;
}

static void touch(sluice_sn_client *c, sluice_sn_topic *topic) {
  size_t i;
  if (++c->clock == 0) {
    /* Used up: all are as old as each other again. */
    for (i = 0; i < SLUICE_SN_MAX_TOPICS; i++)
      if (c->topics[i].used) c->topics[i].used = 1;
    c->clock = 2;
  }
  topic->used = c->clock;
}

/* Remembers a name, in place of the one used least recently that no message waits for. */
static sluice_sn_topic *remember(sluice_sn_client *c, const char *name, size_t length, uint16_t id) {
  sluice_sn_topic *topic = topic_named(c, name, length), *same;
  size_t i;
  if (length > SLUICE_SN_MAX_TOPIC) return NULL;
  for (i = 0; topic == NULL && i < SLUICE_SN_MAX_TOPICS; i++)
    if (!c->topics[i].used) topic = &c->topics[i];
  for (i = 0; topic == NULL && i < SLUICE_SN_MAX_TOPICS; i++) {
    sluice_sn_topic *oldest = NULL;
    size_t k;
    for (k = 0; k < SLUICE_SN_MAX_TOPICS; k++)
      if (k != c->register_for && (oldest == NULL || c->topics[k].used < oldest->used)) oldest = &c->topics[k];
    topic = oldest;
  }
  if (topic == NULL) return NULL;
  same = id == 0 ? NULL : topic_with(c, id);
  if (same != NULL && same != topic) same->used = 0;
  memcpy(topic->name, name, length);
  topic->name[length] = '\0';
  topic->id = id;
  touch(c, topic);
  return topic;
}

/* ---- what comes in */

static void settle(sluice_sn_client *c, int result) {
  uint8_t *at = body_of(&c->message);
  int is_qos1 = (at[1] & QOS_MASK) == QOS_1;
  c->message.type = 0;
  c->register_for = NO_TOPIC;
  if (is_qos1 && c->io.on_settled) c->io.on_settled(c->io.context, u16_at(at + 4), result);
}

/* The topic of the waiting message has an id now. */
static void take_regack(sluice_sn_client *c, const sluice_sn_message *m) {
  uint8_t *at = body_of(&c->message);
  if (c->request.type != REGISTER || m->message_id != u16_at(body_of(&c->request) + 3)) return;
  if (m->byte == CONGESTION) return;
  c->request.type = 0;
  if (!c->message_waits || c->register_for == NO_TOPIC) return;
  c->message_waits = 0;
  if (m->byte != ACCEPTED) {
    c->topics[c->register_for].used = 0;
    settle(c, SLUICE_SN_REFUSED);
    return;
  }
  c->topics[c->register_for].id = m->topic_id;
  put_u16(at + 2, m->topic_id);
  c->message.attempts = 0;
  send_request(c, &c->message);
  if ((at[1] & QOS_MASK) == 0) settle(c, SLUICE_SN_OK);
}

static void take_puback(sluice_sn_client *c, const sluice_sn_message *m) {
  uint8_t *at = body_of(&c->message);
  sluice_sn_topic *unknown = m->byte == INVALID_TOPIC_ID && m->message_id == 0 ? topic_with(c, m->topic_id) : NULL;
  /* Of a QoS 0 message: the next one to that topic registers it anew. */
  if (unknown != NULL) unknown->id = 0;
  if (c->message.type != PUBLISH || c->message_waits || m->message_id != u16_at(at + 4)) return;
  if (m->byte == CONGESTION) return;
  if (m->byte == INVALID_TOPIC_ID && (at[1] & ID_TYPE) == NORMAL && c->register_for != NO_TOPIC) {
    /* The gateway has forgotten it: it is registered anew, and the message follows. */
    c->topics[c->register_for].id = 0;
    c->message_waits = 1;
  } else
    settle(c, m->byte == ACCEPTED ? SLUICE_SN_OK : SLUICE_SN_REFUSED);
}

static void take_register(sluice_sn_client *c, const sluice_sn_message *m) {
  sluice_sn_message answer = {0};
  answer.type = REGACK;
  answer.topic_id = m->topic_id;
  answer.message_id = m->message_id;
  if (remember(c, (const char *)m->rest, m->rest_length, m->topic_id) == NULL) answer.byte = NOT_SUPPORTED;
  send_message(c, &answer);
}

static void take_publish(sluice_sn_client *c, const sluice_sn_message *m) {
  sluice_sn_message answer = {0};
  sluice_sn_topic *topic = NULL;
  char name[3] = {0};
  answer.type = PUBACK;
  answer.topic_id = m->topic_id;
  answer.message_id = m->message_id;
  if ((m->flags & ID_TYPE) == NORMAL) {
    topic = topic_with(c, m->topic_id);
    if (topic == NULL) answer.byte = INVALID_TOPIC_ID;
  } else if ((m->flags & ID_TYPE) == SHORT)
    put_u16((uint8_t *)name, m->topic_id);
  if (topic != NULL) touch(c, topic);
  if (answer.byte == ACCEPTED && c->io.on_message)
    c->io.on_message(c->io.context, topic == NULL ? name : topic->name, m->topic_id, m->rest, m->rest_length,
                     (m->flags & RETAIN) != 0);
  /* After the program has it: what it has not seen comes again. */
  if ((m->flags & QOS_MASK) == QOS_1 || answer.byte != ACCEPTED) send_message(c, &answer);
}

static void take_suback(sluice_sn_client *c, const sluice_sn_message *m) {
  int accepted = m->byte == ACCEPTED;
  if (c->request.type != SUBSCRIBE || m->message_id != u16_at(body_of(&c->request) + 2)) return;
  if (m->byte == CONGESTION) return;
  c->request.type = 0;
  if (accepted && m->topic_id != 0) remember(c, c->subscribed, strlen(c->subscribed), m->topic_id);
  if (c->io.on_subscribed) c->io.on_subscribed(c->io.context, accepted ? (m->flags & QOS_MASK) >> 5 : SLUICE_SN_REFUSED);
}

static void take_connack(sluice_sn_client *c, uint8_t return_code) {
  size_t i;
  if (c->request.type != CONNECT) return;
  if (return_code == CONGESTION) return; /* the timer asks again */
  c->request.type = 0;
  if (return_code != ACCEPTED) {
    set_state(c, SLUICE_SN_DISCONNECTED);
    return;
  }
  for (i = 0; c->clean && i < SLUICE_SN_MAX_TOPICS; i++) {
    c->topics[i].id = 0;
    if (i != c->register_for) c->topics[i].used = 0;
  }
  if (c->clean && c->register_for != NO_TOPIC && c->message.type == PUBLISH) c->message_waits = 1;
  /* When this connection is lost, the next one goes on with its session. */
  c->clean = 0;
  c->message.sent_ms = now_of(c) - SLUICE_SN_RETRY_MS;
  set_state(c, SLUICE_SN_ACTIVE);
}

/* The gateway says goodbye: in answer, or because it does not know us. */
static void take_disconnect(sluice_sn_client *c) {
  if (c->request.type == DISCONNECT) {
    c->request.type = 0;
    set_state(c, c->sleep_s > 0 ? SLUICE_SN_ASLEEP : SLUICE_SN_DISCONNECTED);
  } else if (c->state != SLUICE_SN_DISCONNECTED && c->request.type != CONNECT) {
    c->request.type = 0;
    begin_connect(c);
  }
}

static void take_pingresp(sluice_sn_client *c) {
  if (c->request.type == PINGREQ) c->request.type = 0;
  if (c->state == SLUICE_SN_AWAKE) set_state(c, SLUICE_SN_ASLEEP);
}

void sluice_sn_receive(sluice_sn_client *c, const uint8_t *bytes, size_t count) {
  sluice_sn_message m;
#if SLUICE_SN_AUTH
  if (c->key != NULL) {
    bytes = open_datagram(c, bytes, &count);
    if (bytes != NULL && count == 0) return;
  }
#endif
  if (bytes == NULL || !sluice_sn_read(bytes, count, &m)) {
    c->ignored++;
    return;
  }
  c->heard_ms = now_of(c);
  /* An answer to PINGREQ that messages delay: they show that it has come. */
  if (c->state == SLUICE_SN_AWAKE && c->request.type == PINGREQ) {
    c->request.attempts = 0;
    c->request.sent_ms = c->heard_ms;
  }
  switch (m.type) {
    case CONNACK: take_connack(c, m.byte); break;
    case REGISTER: take_register(c, &m); break;
    case REGACK: take_regack(c, &m); break;
    case PUBLISH: take_publish(c, &m); break;
    case PUBACK: take_puback(c, &m); break;
    case SUBACK: take_suback(c, &m); break;
    case UNSUBACK:
      if (c->request.type == UNSUBSCRIBE && m.message_id == u16_at(body_of(&c->request) + 2)) c->request.type = 0;
      break;
    case PINGRESP: take_pingresp(c); break;
    case DISCONNECT: take_disconnect(c); break;
    default: break;
  }
}

/* ---- what the program asks for */

void sluice_sn_init(sluice_sn_client *c, const char *client_id, const sluice_sn_io *io) {
  memset(c, 0, sizeof *c);
  c->io = *io;
  c->client_id = client_id;
  c->register_for = NO_TOPIC;
}

void sluice_sn_resume(sluice_sn_client *c, uint16_t message_id) { c->resume_id = message_id; }

int sluice_sn_connect(sluice_sn_client *c, uint16_t keepalive_s, int clean) {
  if (c->request.type != 0) return SLUICE_SN_BUSY;
  c->keepalive_s = keepalive_s;
  c->clean = clean != 0;
  begin_connect(c);
  return SLUICE_SN_OK;
}

static int say_goodbye(sluice_sn_client *c, uint16_t seconds) {
  sluice_sn_message m = {0};
  if (c->state == SLUICE_SN_DISCONNECTED) return SLUICE_SN_OFFLINE;
  if (c->request.type != 0) return SLUICE_SN_BUSY;
  m.type = DISCONNECT;
  m.duration = c->sleep_s = seconds;
  return begin(c, &c->request, &m);
}

int sluice_sn_disconnect(sluice_sn_client *c) { return say_goodbye(c, 0); }

int sluice_sn_sleep(sluice_sn_client *c, uint16_t seconds) {
  if (c->message.type != 0) return SLUICE_SN_BUSY;
  return say_goodbye(c, seconds);
}

int sluice_sn_wake(sluice_sn_client *c) {
  sluice_sn_message m = {0};
  if (c->state != SLUICE_SN_ASLEEP) return SLUICE_SN_OFFLINE;
  if (c->request.type != 0) return SLUICE_SN_BUSY;
  m.type = PINGREQ;
  m.rest = (const uint8_t *)c->client_id;
  m.rest_length = strlen(c->client_id);
  set_state(c, SLUICE_SN_AWAKE);
  return begin(c, &c->request, &m);
}

/* For whoever publishes while a message is under way: one at a time. */
static int may_publish(const sluice_sn_client *c, int qos) {
  if (qos < 0) return may_send(c) ? SLUICE_SN_OK : SLUICE_SN_OFFLINE;
  if (c->state != SLUICE_SN_ACTIVE && (c->state != SLUICE_SN_CONNECTING || qos == 0)) return SLUICE_SN_OFFLINE;
  return c->message.type != 0 ? SLUICE_SN_BUSY : SLUICE_SN_OK;
}

/* `waits`: its topic has no id yet. */
static int publish(sluice_sn_client *c, sluice_sn_message *m, int qos, int waits, uint16_t *message_id) {
  sluice_sn_request *r = &c->message;
  if (m->rest_length + 12 > SLUICE_SN_MAX_MESSAGE) return SLUICE_SN_TOO_LARGE;
  m->type = PUBLISH;
  m->flags |= (uint8_t)(((unsigned)qos & 3u) << 5);
  if (qos > 0 && c->resume_id != 0) {
    /* Perhaps it was stored before the reset: DUP makes the gateway look. */
    m->message_id = c->last_message_id = c->resume_id;
    m->flags |= DUP;
    c->resume_id = 0;
  } else if (qos > 0) {
    m->message_id = next_id(&c->last_message_id);
  }
  if (message_id) *message_id = m->message_id;
  if (qos <= 0 && !waits) {
    send_message(c, m);
    return SLUICE_SN_OK;
  }
  r->length = (uint16_t)sluice_sn_write(m, r->bytes, sizeof r->bytes);
  r->type = PUBLISH;
  r->attempts = r->sent = 0;
  c->message_waits = (uint8_t)waits;
  if (!waits && c->state == SLUICE_SN_ACTIVE) send_request(c, r);
  return SLUICE_SN_OK;
}

int sluice_sn_publish(sluice_sn_client *c, const char *topic, const void *payload, size_t length, int qos, int retain,
                      uint16_t *message_id) {
  sluice_sn_message m = {0};
  size_t topic_length = strlen(topic);
  sluice_sn_topic *known;
  int waits = 0, result = may_publish(c, qos);
  if (result != SLUICE_SN_OK) return result;
  m.rest = payload;
  m.rest_length = length;
  m.flags = retain ? RETAIN : 0;
  c->register_for = NO_TOPIC;
  if (topic_length == 2) {
    m.flags |= SHORT;
    m.topic_id = u16_at((const uint8_t *)topic);
  } else {
    known = topic_named(c, topic, topic_length);
    if (known == NULL) known = remember(c, topic, topic_length, 0);
    if (known == NULL || topic_length + 12 > SLUICE_SN_MAX_MESSAGE) return SLUICE_SN_TOO_LARGE;
    touch(c, known);
    c->register_for = (uint8_t)(known - c->topics);
    m.topic_id = known->id;
    waits = known->id == 0;
  }
  return publish(c, &m, qos, waits, message_id);
}

int sluice_sn_publish_predefined(sluice_sn_client *c, uint16_t topic_id, const void *payload, size_t length, int qos,
                                 int retain, uint16_t *message_id) {
  sluice_sn_message m = {0};
  int result = may_publish(c, qos);
  if (result != SLUICE_SN_OK) return result;
  m.rest = payload;
  m.rest_length = length;
  m.flags = (uint8_t)(PREDEFINED | (retain ? RETAIN : 0));
  m.topic_id = topic_id;
  if (qos > 0) c->register_for = NO_TOPIC;
  return publish(c, &m, qos, 0, message_id);
}

static int ask_for_topic(sluice_sn_client *c, uint8_t type, const char *filter, int qos) {
  sluice_sn_message m = {0};
  size_t length = strlen(filter);
  if (c->state != SLUICE_SN_ACTIVE) return SLUICE_SN_OFFLINE;
  if (c->request.type != 0) return SLUICE_SN_BUSY;
  if (length > SLUICE_SN_MAX_TOPIC) return SLUICE_SN_TOO_LARGE;
  memcpy(c->subscribed, filter, length + 1);
  m.type = type;
  m.flags = (uint8_t)((qos & 1) << 5);
  if (length == 2 && strpbrk(filter, "+#") == NULL) m.flags |= SHORT;
  m.message_id = next_id(&c->last_request_id);
  m.rest = (const uint8_t *)filter;
  m.rest_length = length;
  return begin(c, &c->request, &m);
}

int sluice_sn_subscribe(sluice_sn_client *c, const char *filter, int qos) {
  return ask_for_topic(c, SUBSCRIBE, filter, qos);
}

int sluice_sn_unsubscribe(sluice_sn_client *c, const char *filter) { return ask_for_topic(c, UNSUBSCRIBE, filter, 0); }

/* ---- time */

/* @returns 0 when it has been sent often enough. */
static int again(sluice_sn_client *c, sluice_sn_request *r, uint32_t now) {
  uint8_t *at = body_of(r);
  if (now - r->sent_ms < SLUICE_SN_RETRY_MS) return 1;
  if (r->attempts >= SLUICE_SN_MAX_RETRIES) return 0;
  r->attempts++;
  if (r->sent && (r->type == PUBLISH || r->type == SUBSCRIBE)) at[1] |= DUP;
  send_request(c, r);
  return 1;
}

/* No answer: what was asked for is given up, but for a message, which goes out again once there is a connection. */
static void lost(sluice_sn_client *c) {
  uint8_t type = c->request.type;
  c->request.type = 0;
#if SLUICE_SN_AUTH
  c->sealed = 0;
#endif
  if (type == DISCONNECT && c->sleep_s == 0) {
    set_state(c, SLUICE_SN_DISCONNECTED);
    return;
  }
  if (type == SUBSCRIBE && c->io.on_subscribed) c->io.on_subscribed(c->io.context, SLUICE_SN_OFFLINE);
  begin_connect(c);
}

void sluice_sn_poll(sluice_sn_client *c) {
  uint32_t now = now_of(c);
#if SLUICE_SN_AUTH
  if (c->key != NULL && !c->sealed) {
    if (!c->hello_sent || now - c->hello_ms >= SLUICE_SN_RETRY_MS) send_hello(c);
    return;
  }
#endif
  if (c->request.type != 0 && !again(c, &c->request, now)) {
    lost(c);
    return;
  }
  if (c->state != SLUICE_SN_ACTIVE) return;
  if (c->message.type == PUBLISH && c->message_waits) {
    if (c->request.type == 0 && c->register_for != NO_TOPIC) {
      sluice_sn_message m = {0};
      m.type = REGISTER;
      m.message_id = next_id(&c->last_request_id);
      m.rest = (const uint8_t *)c->topics[c->register_for].name;
      m.rest_length = strlen(c->topics[c->register_for].name);
      begin(c, &c->request, &m);
    }
  } else if (c->message.type == PUBLISH && !again(c, &c->message, now)) {
    c->message.attempts = 0;
    lost(c);
    return;
  }
  if (c->request.type == 0 &&
      (says_nothing_yet(c) || (c->keepalive_s > 0 && now - c->sent_ms >= c->keepalive_s * 1000u))) {
    sluice_sn_message m = {0};
    m.type = PINGREQ;
    begin(c, &c->request, &m);
  }
}
