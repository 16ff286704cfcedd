/* See sluice_serial.h; the grammar is in ../serial/README.md. */
#include "sluice_serial.h"

#include <string.h>

enum { HELLO = 1, PUBLISH = 2, TIME_REQUEST = 4, LOG_LINE = 5, PING = 6 };
enum { WELCOME = 16, ACK = 17, NACK = 18, TIME = 20, PONG = 21, REFUSED = 22 };
enum { UNSIGNED = 0, BYTES = 2, TEXT = 3 };
enum { NACK_BUSY = 2, NACK_TOO_LARGE = 4 };
enum { VERSION = 1, CRC_BYTES = 4, MAX_RUN = 254, MAX_ATTEMPTS = 4 };

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

static uint32_t checksum(const uint8_t *body, size_t length, uint32_t epoch) {
  uint32_t crc = 0xffffffffu;
  size_t i;
  int shift;
  if (length > 0 && (body[0] == HELLO || body[0] == WELCOME || body[0] == REFUSED)) epoch = 0;
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

/* Reads an unsigned integer in its shortest form; the bridge sends the device nothing else. */
static int take_unsigned(const uint8_t **at, const uint8_t *end, uint64_t *value) {
  unsigned info, width, i;
  if (*at == end || **at > 27) return 0;
  info = *(*at)++;
  width = info < 24 ? 0 : 1u << (info - 24);
  if ((size_t)(end - *at) < width) return 0;
  *value = info;
  if (width == 0) return 1;
  *value = 0;
  for (i = 0; i < width; i++) *value = (*value << 8) | *(*at)++;
  return *value >= (width == 1 ? 24u : (uint64_t)1 << (4 * width));
}

/* ---- frames */

static void send_frame(sluice_client *c, const uint8_t *body, size_t length) {
  uint8_t block[MAX_RUN + 1];
  uint32_t crc = checksum(body, length, c->epoch);
  size_t run = 0, total = length + CRC_BYTES, i;
  static const uint8_t delimiter = 0;
  for (i = 0; i < total; i++) {
    uint8_t byte = i < length ? body[i] : (uint8_t)(crc >> (8 * (total - 1 - i)));
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
  uint8_t bytes[88];
  writer w = {bytes, 0, sizeof bytes};
  static const uint8_t delimiter = 0;
  put_head(&w, UNSIGNED, HELLO);
  put_head(&w, UNSIGNED, VERSION);
  put_string(&w, TEXT, c->device, strlen(c->device));
  put_head(&w, UNSIGNED, c->epoch);
  put_head(&w, UNSIGNED, c->base);
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

static void welcomed(sluice_client *c, uint32_t epoch, uint32_t window, uint32_t max_content) {
  uint32_t sequence;
  if (!c->hello_sent || c->connected || epoch == 0 || (c->epoch != 0 && c->epoch != epoch)) return;
  c->epoch = epoch;
  c->window = window < 1 ? 1 : window > SLUICE_WINDOW ? SLUICE_WINDOW : window;
  c->max_content = max_content;
  c->connected = 1;
  c->attempts = 0;
  c->sent = c->base;
  c->progress_ms = c->io.now_ms(c->io.context);
  for (sequence = c->base; sequence != c->next; sequence++)
    if ((uint32_t)slot_of(c, sequence)->length + CRC_BYTES > max_content) give_up(c, sequence, SLUICE_TOO_LARGE);
  if (c->io.on_welcome) c->io.on_welcome(c->io.context, epoch);
}

/* ---- what comes in */

static void take_frame(sluice_client *c) {
  const uint8_t *at = c->rx, *end;
  uint64_t item[5];
  size_t count = 0;
  uint32_t crc;
  if (c->rx_length <= CRC_BYTES) {
    c->damaged_frames++;
    return;
  }
  end = c->rx + c->rx_length - CRC_BYTES;
  crc = ((uint32_t)end[0] << 24) | ((uint32_t)end[1] << 16) | ((uint32_t)end[2] << 8) | end[3];
  if (crc != checksum(c->rx, (size_t)(end - c->rx), c->epoch)) {
    c->damaged_frames++;
    return;
  }
  while (at != end && count < 5 && take_unsigned(&at, end, &item[count])) count++;
  if (at != end || count == 0) {
    c->damaged_frames++;
    return;
  }
  c->heard_ms = c->io.now_ms(c->io.context);
  if (item[0] == WELCOME && count == 5 && item[1] == VERSION)
    welcomed(c, (uint32_t)item[2], (uint32_t)item[3], (uint32_t)item[4]);
  else if (item[0] == REFUSED && count == 2)
    c->connected = 0;
  else if (!c->connected)
    return;
  else if (item[0] == ACK && count == 2)
    acked(c, (uint32_t)item[1]);
  else if (item[0] == NACK && count == 3)
    nacked(c, (uint32_t)item[1], (uint32_t)item[2]);
  else if (item[0] == TIME && count == 3) {
    if (c->io.on_time) c->io.on_time(c->io.context, item[2]);
  } else if (item[0] != PONG || count != 1)
    c->damaged_frames++;
}

static void rx_add(sluice_client *c, uint8_t byte) {
  if (c->rx_length < sizeof c->rx)
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
  c->max_content = SLUICE_MAX_BODY + CRC_BYTES;
}

void sluice_resume(sluice_client *c, uint32_t epoch, uint32_t sequence) {
  c->epoch = epoch;
  c->base = c->sent = c->next = sequence;
}

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
  if (w.length > w.capacity || w.length + CRC_BYTES > c->max_content) return SLUICE_TOO_LARGE;
  slot->length = (uint16_t)w.length;
  slot->settled = 0;
  if (sequence) *sequence = c->next;
  c->next++;
  return SLUICE_OK;
}

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
