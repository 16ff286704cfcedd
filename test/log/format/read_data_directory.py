#!/usr/bin/env python3
"""Reads the streams of a data directory as src/log/DATA_FORMAT.md describes them, and nothing else of Sluice: what proves the page.

  read_data_directory.py DATA      one JSON object a line on stdout: segments, facts and lists of topics as they come, records in order

Needs nothing but Python's standard library. Ends with a message at the first byte that is not as the page says.
"""

import base64
import json
import os
import re
import struct
import sys
import zlib

META = b"\xff\xff\xff\xff"


def crc32c_table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


CRC_TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def unmasked(stored):
    rotated = (stored - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def zigzag(data, at):
    value, at = varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def expect(condition, what):
    if not condition:
        sys.exit("not as DATA_FORMAT.md says: " + what)


# --- CBOR, as far as it is used -------------------------------------------------------------------------------------


def cbor(data, at=0):
    first = data[at]
    kind, info = first >> 5, first & 31
    at += 1
    if kind == 7:
        if info == 27:
            return struct.unpack_from(">d", data, at)[0], at + 8
        if info == 26:
            return struct.unpack_from(">f", data, at)[0], at + 4
        return {20: False, 21: True, 22: None, 23: None}[info], at
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(info, 0)
    number = int.from_bytes(data[at : at + size], "big") if size else info
    at += size
    if kind == 0:
        return number, at
    if kind == 1:
        return -1 - number, at
    if kind in (2, 3):
        raw = bytes(data[at : at + number])
        return (raw if kind == 2 else raw.decode()), at + number
    expect(kind in (4, 5), "CBOR has no tags")
    items = []
    for _ in range(number * (2 if kind == 5 else 1)):
        item, at = cbor(data, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if kind == 5 else items), at


def checked(value, key, what):
    body, check = value[:-4], int.from_bytes(value[-4:], "big")
    expect(crc32c(key + body) == check, "the check of " + what)
    return body


# --- LevelDB --------------------------------------------------------------------------------------------------------


def block_of(table, offset, size):
    body = table[offset : offset + size]
    trailer = table[offset + size : offset + size + 5]
    expect(trailer[0] == 0, "a block is not compressed")
    expect(crc32c(body + trailer[:1]) == unmasked(int.from_bytes(trailer[1:], "little")), "the CRC of a block")
    restarts = int.from_bytes(body[-4:], "little")
    end = len(body) - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = varint(body, at)
        unshared, at = varint(body, at)
        length, at = varint(body, at)
        key = key[:shared] + body[at : at + unshared]
        at += unshared
        yield key, body[at : at + length]
        at += length


def handle(data, at):
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return offset, size, at


def table_entries(table):
    """(key, sequence, value or None)"""
    footer = table[-48:]
    expect(footer[-8:] == bytes.fromhex("57fb808b247547db"), "the magic of a table")
    _, _, at = handle(footer, 0)
    offset, size, _ = handle(footer, at)
    for _, where in block_of(table, offset, size):
        start, length, _ = handle(where, 0)
        for key, value in block_of(table, start, length):
            trailer = int.from_bytes(key[-8:], "little")
            yield key[:-8], trailer >> 8, value if trailer & 0xFF else None


def log_records(log):
    record = None
    for start in range(0, len(log), 32768):
        block = log[start : start + 32768]
        at = 0
        while len(block) - at >= 7:
            crc, length, kind = struct.unpack_from("<IHB", block, at)
            if kind == 0 and length == 0:
                break  # laid out in advance: nothing was written here
            body = block[at + 6 : at + 7 + length]
            if len(body) < 1 + length or crc32c(body) != unmasked(crc):
                return  # torn by a crash: nobody was promised it
            at += 7 + length
            record = (b"" if kind in (1, 2) else record) + body[1:]
            if kind in (1, 4):
                yield record


def log_entries(log):
    for record in log_records(log):
        sequence, count = struct.unpack_from("<QI", record, 0)
        at = 12
        for i in range(count):
            kind = record[at]
            length, at = varint(record, at + 1)
            key = record[at : at + length]
            at += length
            value = None
            if kind == 1:
                length, at = varint(record, at)
                value = record[at : at + length]
                at += length
            yield key, sequence + i, value


def database(directory):
    """What holds in it: key -> value."""
    latest = {}
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if not re.search(r"\.(ldb|log)$", name):
            continue
        with open(path, "rb") as file:
            data = file.read()
        for key, sequence, value in table_entries(data) if name.endswith(".ldb") else log_entries(data):
            if key not in latest or sequence > latest[key][0]:
                latest[key] = (sequence, value)
    return {key: value for key, (_, value) in sorted(latest.items()) if value is not None}


# --- Sluice ---------------------------------------------------------------------------------------------------------


def records_of(batch):
    base, length, epoch, magic, crc, attributes, last = struct.unpack_from(">qiibIhi", batch, 0)
    timestamp, latest, producer, producer_epoch, sequence, count = struct.unpack_from(">qqqhii", batch, 27)
    expect(length == len(batch) - 12 and magic == 2 and count == last + 1, "the header of a record batch")
    expect(crc32c(batch[21:]) == crc, "the CRC of a record batch")
    body = batch[61:]
    codec = attributes & 7
    expect(codec in (0, 1, 4), "the compression of a record batch")
    if codec == 4:
        sys.exit("zstd: Python has no such module before 3.14")
    if codec == 1:
        body = zlib.decompress(body, 31)
    at = 0
    for i in range(count):
        size, at = zigzag(body, at)
        end = at + size
        mqtt = body[at]
        time_delta, at = zigzag(body, at + 1)
        offset_delta, at = zigzag(body, at)
        expect(offset_delta == i, "offsets of a batch are consecutive")
        parts = []
        for _ in range(2):
            size, at = zigzag(body, at)
            parts.append(None if size < 0 else body[at : at + size])
            at += max(size, 0)
        headers = []
        count_of_headers, at = zigzag(body, at)
        for _ in range(count_of_headers):
            pair = []
            for _ in range(2):
                size, at = zigzag(body, at)
                pair.append("" if size < 0 else body[at : at + size].decode())
                at += max(size, 0)
            headers.append(pair)
        expect(at == end, "the length of a record")
        expect(timestamp + time_delta <= latest, "maxTimestamp")
        key, value = parts
        yield {
            "offset": base + i,
            "epoch": epoch,
            "timestamp_ms": timestamp + time_delta,
            "key": None if key is None else key.decode(),
            "value": None if value is None else base64.b64encode(value).decode(),
            "headers": headers,
            "qos": (mqtt & 3) ^ 1,
            "retain": bool(mqtt & 4),
        }


def witness_of(path):
    with open(path, "rb") as file:
        data = file.read()
    expect(len(data) == 525, "the size of live")
    for at in (0, 512):
        count, succeeded, check = struct.unpack_from(">QBI", data, at)
        if crc32c(data[at : at + 9]) == check:
            return count, bool(succeeded)
    sys.exit("live: both copies are damaged")


def say(kind, **more):
    print(json.dumps({"kind": kind, **more}))


def read_segment(stream, directory):
    names = os.listdir(directory)
    if "live" not in names and "sealed" not in names:
        return
    count, succeeded = witness_of(os.path.join(directory, "live"))
    stored = database(directory)
    header, _ = cbor(checked(stored[META + b"header"], b"", "a header"))
    expect(header["format"] == 2, "the format of a segment")
    facts = {}
    facts_sum = 0
    for key, value in stored.items():
        if key.startswith(META + b"fact\0"):
            name = key[9:].decode()
            facts[name] = base64.b64encode(checked(value, key, "the fact " + name)).decode()
            facts_sum ^= int.from_bytes(value[-4:], "big")
    extents = topics = None
    if "sealed" in names:
        with open(os.path.join(directory, "sealed"), "rb") as file:
            summary = file.read()
        checked(stored[META + b"index"], b"", "an index")
        (inner, extents, _, fact_count, fact_sum), _ = cbor(checked(summary, b"", "a summary"))
        expect(cbor(inner)[0] == header, "the header in the summary")
        expect((fact_count, fact_sum) == (len(facts), facts_sum), "the facts in the summary")
        key = META + b"topics"
        topics, _ = cbor(checked(stored[key], key, "a list of topics"))
    say("segment", stream=stream, sequence=header["sequence"], bases=header["bases"], sealed=extents is not None,
        succeeded=succeeded, witnessed=count, facts=facts, topics=topics)
    ends = {}
    seen = set()
    for key, batch in stored.items():
        if key.startswith(META):
            continue
        partition, last_offset, check = struct.unpack(">IQI", key)
        expect(crc32c(key[:12] + batch[:21]) == check, "the check in a key")
        records = list(records_of(batch))
        expect(records[-1]["offset"] == last_offset, "the last offset in a key")
        for record in records:
            seen.add(record["key"])
            say("record", stream=stream, partition=partition, **record)
        ends[partition] = last_offset + 1
    if extents is not None:
        for partition, extent in enumerate(extents):
            expect(ends.get(partition, extent[0]) == extent[1], "the end of a partition in the summary")
        expect(topics is None or set(topics) == seen, "the list of topics")


def main():
    [data] = sys.argv[1:]
    with open(os.path.join(data, "format")) as file:
        expect(file.read() == "sluice-data 2\n", "the file format")
    streams = os.path.join(data, "streams")
    for stream in sorted(os.listdir(streams)):
        for name in sorted(os.listdir(os.path.join(streams, stream))):
            if re.fullmatch(r"\d{12}", name):
                read_segment(stream, os.path.join(streams, stream, name))
    for key, value in database(os.path.join(data, "state")).items():
        table, _, name = checked_row(key)
        row, _ = cbor(checked(value, key, "a row of " + table))
        if table == "node" and name == "writes":
            count, _ = witness_of(os.path.join(data, "state", "live"))
            expect(count <= row, "the witness of the state database")
        say("row", table=table, key=name)


def checked_row(key):
    return key.decode().partition("\0")


main()
