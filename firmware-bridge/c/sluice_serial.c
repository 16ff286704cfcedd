/* See sluice_serial.h; the grammar is in ../serial/README.md. */
#include "sluice_serial.h"

#include <string.h>

#if SLUICE_AUTH
#include "sluice_auth.h"
#endif

enum { HELLO = 1, PUBLISH = 2, SUBSCRIBE = 3, TIME_REQUEST = 4, LOG_LINE = 5, PING = 6, RECEIVED = 7, REPORT = 8 };
enum { WELCOME = 16, ACK = 17, NACK = 18, MESSAGE = 19, TIME = 20, PONG = 21, REFUSED = 22, SUBSCRIBED = 23 };
enum { UNSIGNED = 0, BYTES = 2, TEXT = 3 };
enum { NACK_BUSY = 2, NACK_TOO_LARGE = 4 };
enum { VERSION = 1, CRC_BYTES = 4, MAX_RUN = 254, MAX_ATTEMPTS = 4, MAX_ITEMS = 7 };
#if SLUICE_AUTH
enum { COUNTER_BYTES = 4, CODE_BYTES = COUNTER_BYTES + SLUICE_MAC_BYTES, NONCE_BYTES = 8, MAC_ITEM_BYTES = 1 + SLUICE_MAC_BYTES };
#endif

/* ---- checksum */

static uint32_t crc_step(uint32_t crc, uint8_t byte) {
  /* Nibble by nibble: 64 bytes of table instead of 1 KB. */
  static const uint32_t table[16] = {0x00000000u, 0x105ec76fu, 0x20bd8edeu, 0x30e349b1u, 0x417b1dbcu, 0x5125dad3u,
                                     0x61c69362u, 0x7198540du, 0x82f63b78u, 0x92a8fc17u, 0xa24bb5a6u, 0xb21572c9u,
                                     0xc38d26c4u, 0xd3d3e1abu, 0xe330a81au, 0xf36e6f75u};
  crc ^= byte;
  crc = (crc >> 4) ^ table[crc & 15u];
  return (crc >> 4) ^ table[crc & 15u];
}

static int is_outside_session(uint8_t type) { return type == HELLO || type == WELCOME || type == REFUSED; }

static uint32_t checksum(const uint8_t *body, size_t length, uint32_t epoch) {
  uint32_t crc = 0xffffffffu;
  size_t i;
  int shift;
  if (is_outside_session(body[0])) epoch = 0;
  for (shift = 24; shift >= 0; shift -= 8) crc = crc_step(crc, (uint8_t)(epoch >> shift));
  for (i = 0; i < length; i++) crc = crc_step(crc, body[i]);
  return crc ^ 0xffffffffu;
}

/* ---- items */

typedef struct {
  uint8_t *bytes;
  size_t length, capacity;
} writer;

/* Beyond the capacity only `length` grows: the caller compares. */
static void put(writer *w, const void *bytes, size_t count) {
  if (count > 0 && w->length + count <= w->capacity) memcpy(w->bytes + w->length, bytes, count);
  w->length += count;
}

static void put_head(writer *w, unsigned major, uint32_t value) {
  uint8_t head[5];
  size_t width = value < 24u ? 0 : value < 0x100u ? 1 : value < 0x10000u ? 2 : 4;
  size_t i;
  head[0] = (uint8_t)((major << 5) | (width == 0 ? value : width == 4 ? 26u : 23u + (unsigned)width));
  for (i = 0; i < width; i++) head[1 + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
  put(w, head, 1 + width);
}

static void put_string(writer *w, unsigned major, const void *bytes, size_t count) {
  put_head(w, major, (uint32_t)count);
  put(w, bytes, count);
}

typedef struct {
  unsigned major;
  uint64_t value; /* of an integer; of a string, its length */
  const uint8_t *bytes;
} item;

/* Reads an integer, a text or bytes in their shortest form; the bridge sends nothing else. */
static int take_item(const uint8_t **at, const uint8_t *end, item *it) {
  unsigned info, width, i;
  if (*at == end) return 0;
  it->major = **at >> 5;
  info = *(*at)++ & 31u;
  if (info > 27 || (it->major != UNSIGNED && it->major != BYTES && it->major != TEXT)) return 0;
  width = info < 24 ? 0 : 1u << (info - 24);
  if ((size_t)(end - *at) < width) return 0;
  it->value = info;
  if (width > 0) {
    it->value = 0;
    for (i = 0; i < width; i++) it->value = (it->value << 8) | *(*at)++;
    if (it->value < (width == 1 ? 24u : (uint64_t)1 << (4 * width))) return 0;
  }
  it->bytes = *at;
  if (it->major == UNSIGNED) return it->value >> 53 == 0;
  if (it->value > (size_t)(end - *at)) return 0;
  *at += it->value;
  return 1;
}

/* ---- frames */

static void put_u32(uint8_t *bytes, uint32_t value) {
  unsigned i;
  for (i = 0; i < 4; i++) bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t read_u32(const uint8_t *bytes) {
  return ((uint32_t)bytes[0] << 24) | ((uint32_t)bytes[1] << 16) | ((uint32_t)bytes[2] << 8) | bytes[3];
}

#if SLUICE_AUTH
static void session_code(const sluice_client *c, char side, const uint8_t *body, size_t length, const uint8_t *counter,
                         uint8_t out[SLUICE_HMAC_BYTES]) {
  sluice_part parts[3];
  parts[0].bytes = &side;
  parts[0].count = 1;
  parts[1].bytes = body;
  parts[1].count = length;
  parts[2].bytes = counter;
  parts[2].count = COUNTER_BYTES;
  sluice_hmac(c->session_key, sizeof c->session_key, parts, 3, out);
}
#endif

/* What proves a body whole. @returns its length. */
static size_t make_tail(sluice_client *c, const uint8_t *body, size_t length, uint8_t *tail) {
#if SLUICE_AUTH
  if (c->key && !is_outside_session(body[0])) {
    uint8_t code[SLUICE_HMAC_BYTES];
    put_u32(tail, ++c->tx_counter);
    session_code(c, 'd', body, length, tail, code);
    memcpy(tail + COUNTER_BYTES, code, SLUICE_MAC_BYTES);
    return CODE_BYTES;
  }
#endif
  put_u32(tail, checksum(body, length, c->epoch));
  return CRC_BYTES;
}

static size_t tail_bytes(const sluice_client *c) {
#if SLUICE_AUTH
  if (c->key) return CODE_BYTES;
#endif
  (void)c;
  return CRC_BYTES;
}

static void send_frame(sluice_client *c, const uint8_t *body, size_t length) {
  uint8_t block[MAX_RUN + 1], tail[16];
  size_t run = 0, total = length + make_tail(c, body, length, tail), i;
  static const uint8_t delimiter = 0;
  for (i = 0; i < total; i++) {
    uint8_t byte = i < length ? body[i] : tail[i - length];
    if (byte != 0) block[1 + run++] = byte;
    if (byte == 0 || (run == MAX_RUN && i + 1 < total)) {
      block[0] = (uint8_t)(run + 1);
      c->io.write(c->io.context, block, run + 1);
      run = 0;
    }
  }
  block[0] = (uint8_t)(run + 1);
  c->io.write(c->io.context, block, run + 1);
  c->io.write(c->io.context, &delimiter, 1);
}

static void send_hello(sluice_client *c) {
  uint8_t bytes[128];
  writer w = {bytes, 0, sizeof bytes};
  static const uint8_t delimiter = 0;
  put_head(&w, UNSIGNED, HELLO);
  put_head(&w, UNSIGNED, VERSION);
  put_string(&w, TEXT, c->device, strlen(c->device));
  put_head(&w, UNSIGNED, c->epoch);
  put_head(&w, UNSIGNED, c->base);
  put_head(&w, UNSIGNED, SLUICE_RECEIVE_WINDOW);
  put_head(&w, UNSIGNED, SLUICE_MAX_RECEIVE);
#if SLUICE_AUTH
  if (c->key) {
    uint8_t code[SLUICE_HMAC_BYTES];
    sluice_part parts[2] = {{"sluice hello", 12}, {NULL, 0}};
    c->io.random(c->io.context, c->nonce, sizeof c->nonce);
    put_string(&w, BYTES, c->nonce, sizeof c->nonce);
    if (w.length > w.capacity) return;
    parts[1].bytes = bytes;
    parts[1].count = w.length;
    sluice_hmac(c->key, c->key_length, parts, 2, code);
    put_string(&w, BYTES, code, SLUICE_MAC_BYTES);
  }
#endif
  if (w.length > w.capacity) return;
  /* Ends whatever half a frame a reset has left on the line. */
  c->io.write(c->io.context, &delimiter, 1);
  send_frame(c, bytes, w.length);
}

/* ---- the window */

static sluice_slot *slot_of(sluice_client *c, uint32_t sequence) {
  return &c->slots[sequence % SLUICE_WINDOW];
}

/* The message will never be stored: a void takes its place, so that an ack never covers it. */
static void give_up(sluice_client *c, uint32_t sequence, int result) {
  sluice_slot *slot = slot_of(c, sequence);
  writer w;
  if (slot->settled) return;
  w.bytes = slot->body;
  w.length = 0;
  w.capacity = sizeof slot->body;
  put_head(&w, UNSIGNED, PUBLISH);
  put_head(&w, UNSIGNED, sequence);
  slot->length = (uint16_t)w.length;
  slot->settled = 1;
  if (c->io.on_settled) c->io.on_settled(c->io.context, sequence, result);
}

static void acked(sluice_client *c, uint32_t sequence) {
  if (sequence < c->base || sequence >= c->next) return;
  while (c->base <= sequence) {
    uint32_t settled = c->base++;
    if (!slot_of(c, settled)->settled && c->io.on_settled) c->io.on_settled(c->io.context, settled, SLUICE_OK);
  }
  if (c->sent < c->base) c->sent = c->base;
  c->attempts = 0;
  c->progress_ms = c->io.now_ms(c->io.context);
}

static void nacked(sluice_client *c, uint32_t sequence, uint32_t reason) {
  if (sequence < c->base || sequence >= c->next) return;
  if (reason > NACK_BUSY) give_up(c, sequence, reason == NACK_TOO_LARGE ? SLUICE_TOO_LARGE : SLUICE_REFUSED);
  /* A busy node is given the time that a lost frame is. */
  if (reason != NACK_BUSY && sequence < c->sent) c->sent = sequence;
  c->attempts = 0;
}

#if SLUICE_AUTH
/* Whoever sends this welcome has the key, and answers this hello. */
static int is_proven(sluice_client *c, const uint8_t *body, size_t length, const item *it, size_t count) {
  uint8_t code[SLUICE_HMAC_BYTES], epoch[4];
  sluice_part parts[4];
  if (!c->key) return count == 5;
  if (count != 7 || it[5].major != BYTES || it[5].value != NONCE_BYTES || it[6].major != BYTES || it[6].value != SLUICE_MAC_BYTES)
    return 0;
  parts[0].bytes = "sluice welcome";
  parts[0].count = 14;
  parts[1].bytes = c->nonce;
  parts[1].count = sizeof c->nonce;
  parts[2].bytes = body;
  parts[2].count = length - MAC_ITEM_BYTES;
  sluice_hmac(c->key, c->key_length, parts, 3, code);
  if (!sluice_mac_equal(code, it[6].bytes)) {
    c->forged_frames++;
    return 0;
  }
  put_u32(epoch, (uint32_t)it[1 + 1].value);
  parts[0].bytes = "sluice session";
  parts[2].bytes = it[5].bytes;
  parts[2].count = NONCE_BYTES;
  parts[3].bytes = epoch;
  parts[3].count = sizeof epoch;
  sluice_hmac(c->key, c->key_length, parts, 4, c->session_key);
  c->tx_counter = c->rx_counter = 0;
  return 1;
}
#endif

static void welcomed(sluice_client *c, const uint8_t *body, size_t length, const item *it, size_t count) {
  uint32_t epoch = (uint32_t)it[2].value, window = (uint32_t)it[3].value, max_content = (uint32_t)it[4].value, sequence;
  if (!c->hello_sent || c->connected || epoch == 0 || (c->epoch != 0 && c->epoch != epoch)) return;
#if SLUICE_AUTH
  if (!is_proven(c, body, length, it, count)) return;
#else
  (void)body;
  (void)length;
  if (count != 5) return;
#endif
  c->epoch = epoch;
  c->window = window < 1 ? 1 : window > SLUICE_WINDOW ? SLUICE_WINDOW : window;
  c->max_content = max_content;
  c->connected = 1;
  c->attempts = 0;
  c->sent = c->base;
  c->progress_ms = c->io.now_ms(c->io.context);
#if SLUICE_RECEIVE_WINDOW > 0
  c->received = 0;
  c->request_ms = c->progress_ms - SLUICE_RETRY_MS;
#endif
  for (sequence = c->base; sequence != c->next; sequence++)
    if ((uint32_t)slot_of(c, sequence)->length + tail_bytes(c) > max_content) give_up(c, sequence, SLUICE_TOO_LARGE);
  if (c->io.on_welcome) c->io.on_welcome(c->io.context, epoch);
}

/* ---- what comes in */

#if SLUICE_RECEIVE_WINDOW > 0
static void take_message(sluice_client *c, const item *it, int retained) {
  uint8_t acknowledgement[6];
  writer w = {acknowledgement, 0, sizeof acknowledgement};
  uint32_t number = (uint32_t)it[1].value;
  if (number == 0 || number == c->received + 1) {
    /* Over the head of the payload, which has been read. */
    c->rx[it[2].bytes - c->rx + it[2].value] = 0;
    if (c->io.on_message)
      c->io.on_message(c->io.context, (const char *)it[2].bytes, it[3].bytes, (size_t)it[3].value, retained);
    if (number != 0) c->received = number;
  }
  /* Also of what was here before, or comes too early: the bridge goes on from there. */
  if (number == 0) return;
  put_head(&w, UNSIGNED, RECEIVED);
  put_head(&w, UNSIGNED, c->received);
  send_frame(c, acknowledgement, w.length);
}
#endif

/* A frame of the session. @returns 0 for one that is none. */
static int take_session_frame(sluice_client *c, const item *it, size_t count) {
  uint32_t type = (uint32_t)it[0].value, a = (uint32_t)it[1].value;
  size_t integers = 0;
  while (integers < count && it[integers].major == UNSIGNED) integers++;
  if (type == ACK && count == 2 && integers == 2) {
    acked(c, a);
  } else if (type == NACK && count == 3 && integers == 3) {
    nacked(c, a, (uint32_t)it[2].value);
  } else if (type == TIME && count == 3 && integers == 3) {
    if (c->io.on_time) c->io.on_time(c->io.context, it[2].value);
#if SLUICE_RECEIVE_WINDOW > 0
  } else if (type == MESSAGE && (count == 4 || (count == 5 && it[4].major == UNSIGNED && it[4].value == 1)) && integers == 2 &&
             it[2].major == TEXT && it[3].major == BYTES) {
    take_message(c, it, count == 5);
  } else if (type == SUBSCRIBED && count == 3 && integers == 3) {
    if (c->request_length == 0 || a != c->request_id) return 1;
    c->request_length = 0;
    if (c->io.on_subscribed) c->io.on_subscribed(c->io.context, a, (uint32_t)it[2].value);
#endif
  } else {
    return type == PONG && count == 1;
  }
  return 1;
}

/* @returns the length of the body; 0 when the frame is damaged, or not of this session. */
static size_t open_frame(sluice_client *c) {
  const uint8_t *rx = c->rx;
#if SLUICE_AUTH
  if (c->key && c->rx_length > 0 && !is_outside_session(rx[0])) {
    uint8_t code[SLUICE_HMAC_BYTES];
    size_t length;
    uint32_t counter;
    if (!c->connected || c->rx_length <= CODE_BYTES) return 0;
    length = (size_t)c->rx_length - CODE_BYTES;
    session_code(c, 'b', rx, length, rx + length, code);
    if (!sluice_mac_equal(code, rx + length + COUNTER_BYTES)) return 0;
    counter = read_u32(rx + length);
    if (counter <= c->rx_counter) {
      c->forged_frames++;
      return 0;
    }
    c->rx_counter = counter;
    return length;
  }
#endif
  if (c->rx_length <= CRC_BYTES) return 0;
  if (read_u32(rx + c->rx_length - CRC_BYTES) != checksum(rx, (size_t)c->rx_length - CRC_BYTES, c->epoch)) return 0;
  return (size_t)c->rx_length - CRC_BYTES;
}

static void take_frame(sluice_client *c) {
  size_t length = open_frame(c), count = 0;
  const uint8_t *at = c->rx, *end = c->rx + length;
  item it[MAX_ITEMS];
  memset(it, 0, sizeof it);
  while (at != end && count < MAX_ITEMS && take_item(&at, end, &it[count])) count++;
  if (at != end || count == 0 || it[0].major != UNSIGNED) {
    c->damaged_frames++;
    return;
  }
  c->heard_ms = c->io.now_ms(c->io.context);
  if (it[0].value == WELCOME && count >= 5 && it[1].value == VERSION)
    welcomed(c, c->rx, length, it, count);
  else if (it[0].value == REFUSED && count == 2)
    c->connected = 0;
  else if (it[0].value == WELCOME || it[0].value == REFUSED || (c->connected && !take_session_frame(c, it, count)))
    c->damaged_frames++;
}

static void rx_add(sluice_client *c, uint8_t byte) {
  /* The last byte stays free: a text at the end of a frame is ended there. */
  if (c->rx_length < sizeof c->rx - 1)
    c->rx[c->rx_length++] = byte;
  else
    c->rx_overflow = 1;
}

void sluice_receive(sluice_client *c, const uint8_t *bytes, size_t count) {
  size_t i;
  for (i = 0; i < count; i++) {
    uint8_t byte = bytes[i];
    if (byte == 0) {
      if (c->rx_overflow || c->rx_left > 0)
        c->damaged_frames++;
      else if (c->rx_length > 0)
        take_frame(c);
      c->rx_length = 0;
      c->rx_left = c->rx_zero_follows = c->rx_overflow = 0;
    } else if (c->rx_left > 0) {
      c->rx_left--;
      rx_add(c, byte);
    } else {
      if (c->rx_zero_follows) rx_add(c, 0);
      c->rx_left = (uint8_t)(byte - 1);
      c->rx_zero_follows = byte < 255;
    }
  }
}

/* ---- what goes out */

void sluice_init(sluice_client *c, const char *device, const sluice_io *io) {
  memset(c, 0, sizeof *c);
  c->io = *io;
  c->device = device;
  c->base = c->sent = c->next = 1;
  c->window = SLUICE_WINDOW;
  c->max_content = SLUICE_MAX_BODY + 12;
}

void sluice_resume(sluice_client *c, uint32_t epoch, uint32_t sequence) {
  c->epoch = epoch;
  c->base = c->sent = c->next = sequence;
}

#if SLUICE_AUTH
void sluice_set_key(sluice_client *c, const uint8_t *key, size_t length) {
  c->key = key;
  c->key_length = (uint8_t)length;
}
#endif

static void poll_offline(sluice_client *c, uint32_t now) {
  if (c->hello_sent && now - c->hello_ms < SLUICE_RETRY_MS) return;
  c->hello_sent = 1;
  c->hello_ms = c->heard_ms = c->ping_ms = now;
  send_hello(c);
}

void sluice_poll(sluice_client *c) {
  uint32_t now = c->io.now_ms(c->io.context);
  if (c->connected && now - c->heard_ms > 3 * SLUICE_PING_MS) c->connected = 0;
  if (c->connected && c->sent != c->base && now - c->progress_ms >= SLUICE_RETRY_MS) {
    c->sent = c->base;
    c->progress_ms = now;
    if (++c->attempts >= MAX_ATTEMPTS) c->connected = 0;
  }
  if (!c->connected) {
    poll_offline(c, now);
    return;
  }
  while (c->sent != c->next && c->sent - c->base < c->window) {
    sluice_slot *slot = slot_of(c, c->sent);
    if (c->sent == c->base) c->progress_ms = now;
    send_frame(c, slot->body, slot->length);
    c->sent++;
  }
#if SLUICE_RECEIVE_WINDOW > 0
  if (c->request_length > 0 && now - c->request_ms >= SLUICE_RETRY_MS) {
    c->request_ms = now;
    send_frame(c, c->request, c->request_length);
  }
#endif
  if (now - c->heard_ms >= SLUICE_PING_MS && now - c->ping_ms >= SLUICE_PING_MS) {
    static const uint8_t ping = PING;
    c->ping_ms = now;
    send_frame(c, &ping, 1);
  }
}

int sluice_publish(sluice_client *c, const char *topic, const void *payload, size_t length, int retain, uint32_t *sequence) {
  sluice_slot *slot = slot_of(c, c->next);
  writer w;
  if (c->next - c->base >= SLUICE_WINDOW) return SLUICE_BUSY;
  if (c->next == UINT32_MAX) {
    /* The numbers are used up: new ones once everything is settled. */
    if (c->base != c->next) return SLUICE_BUSY;
    c->epoch = 0;
    c->connected = c->hello_sent = 0;
    c->base = c->sent = c->next = 1;
    slot = slot_of(c, c->next);
  }
  if (length > SLUICE_MAX_BODY) return SLUICE_TOO_LARGE;
  w.bytes = slot->body;
  w.length = 0;
  w.capacity = sizeof slot->body;
  put_head(&w, UNSIGNED, PUBLISH);
  put_head(&w, UNSIGNED, c->next);
  put_string(&w, TEXT, topic, strlen(topic));
  put_string(&w, BYTES, payload, length);
  if (retain) put_head(&w, UNSIGNED, 1);
  if (w.length > w.capacity || w.length + tail_bytes(c) > c->max_content) return SLUICE_TOO_LARGE;
  slot->length = (uint16_t)w.length;
  slot->settled = 0;
  if (sequence) *sequence = c->next;
  c->next++;
  return SLUICE_OK;
}

#if SLUICE_RECEIVE_WINDOW > 0
/* @param qos -1 to unsubscribe. */
static int request(sluice_client *c, const char *filter, int qos, uint32_t *id) {
  writer w;
  if (c->request_length > 0) return SLUICE_BUSY;
  w.bytes = c->request;
  w.length = 0;
  w.capacity = sizeof c->request;
  put_head(&w, UNSIGNED, SUBSCRIBE);
  put_head(&w, UNSIGNED, c->request_id + 1);
  put_string(&w, TEXT, filter, strlen(filter));
  if (qos >= 0) put_head(&w, UNSIGNED, qos > 0 ? 1u : 0u);
  if (w.length > w.capacity) return SLUICE_TOO_LARGE;
  c->request_id++;
  c->request_length = (uint16_t)w.length;
  c->request_ms = c->io.now_ms(c->io.context) - SLUICE_RETRY_MS;
  if (id) *id = c->request_id;
  return SLUICE_OK;
}

int sluice_subscribe(sluice_client *c, const char *filter, int qos, uint32_t *id) {
  return request(c, filter, qos > 0 ? 1 : 0, id);
}

int sluice_unsubscribe(sluice_client *c, const char *filter, uint32_t *id) { return request(c, filter, -1, id); }
#endif

int sluice_request_time(sluice_client *c) {
  static const uint8_t body[2] = {TIME_REQUEST, 0};
  if (!c->connected) return SLUICE_OFFLINE;
  send_frame(c, body, sizeof body);
  return SLUICE_OK;
}

int sluice_log(sluice_client *c, int level, const char *text) {
  uint8_t bytes[128];
  writer w = {bytes, 0, sizeof bytes};
  if (!c->connected) return SLUICE_OFFLINE;
  put_head(&w, UNSIGNED, LOG_LINE);
  put_head(&w, UNSIGNED, level < 0 ? 0u : level > 3 ? 3u : (uint32_t)level);
  put_string(&w, TEXT, text, strlen(text));
  if (w.length > w.capacity) return SLUICE_TOO_LARGE;
  send_frame(c, bytes, w.length);
  return SLUICE_OK;
}

int sluice_report(sluice_client *c, int battery_percent, unsigned battery_millivolts, int signal_dbm) {
  uint8_t bytes[16];
  writer w = {bytes, 0, sizeof bytes};
  if (!c->connected) return SLUICE_OFFLINE;
  put_head(&w, UNSIGNED, REPORT);
  put_head(&w, UNSIGNED, battery_percent < 0 ? 0u : battery_percent > 100 ? 101u : (uint32_t)battery_percent + 1);
  put_head(&w, UNSIGNED, battery_millivolts);
  put_head(&w, UNSIGNED, signal_dbm > 0 ? 0u : (uint32_t)(1 - signal_dbm));
  send_frame(c, bytes, w.length);
  return SLUICE_OK;
}
