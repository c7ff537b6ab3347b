#!/usr/bin/env python3
"""Messages with full card numbers in every field, and the search for those numbers.

  card_numbers.py make payments|labels|notices COUNT >FILE   lines of "key~value", as Kafka's console producer reads them
  card_numbers.py schema avro|protobuf                       etc/wire's schema, with more fields that hold text
  card_numbers.py send avro|protobuf COUNT BROKERS TOPIC     payments by that schema, id 7; their bytes to standard output
  card_numbers.py search FILE..                              exit 1 and a line each for every number found
  card_numbers.py unpack FILE                                the file with what zstd packed in it, unpacked

Every number begins with PREFIX, so that it is known again in whatever it is put: as it is, in groups
with spaces or hyphens, as JSON's escapes, in the hexadecimal digits of a bytea.  One that is masked
but for its last digits is not found.
"""

import ctypes
import datetime
import json
import random
import re
import struct
import sys

PREFIX = "4929731"
NOW = datetime.datetime.now(datetime.timezone.utc)


DOUBLED = str.maketrans("0123456789", "0246813579")  # and its digits added


def luhn(digits):
    return (sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2].translate(DOUBLED)))) % 10


def number(rng, length=None):
    length = length or rng.choice((13, 14, 15, 16, 16, 16, 17, 18, 19))
    free = length - len(PREFIX) - 1
    digits = f"{PREFIX}{int(rng.random() * 10**free):0{free}d}"
    return digits + str(-luhn(digits + "0") % 10)


def groups(digits, separator):
    return separator.join(digits[i : i + 4] for i in range(0, len(digits), 4))


def shown(rng):
    """A number as people and programs write it."""
    separator = rng.choice(("", " ", "-"))
    return groups(number(rng, 16), separator) if separator else number(rng)


def free_text(rng):
    return rng.choice(("{}", "pan={};", "ref {} paid", "x{}y", '"{}"', "<{}>")).format(shown(rng))


PAYMENT_TEXTS = ("id", "type", "currency", "merchant", "terminal", "mcc", "country", "channel",
                 "entry", "device", "ip", "ts", "amount")
PAYMENT_NUMBERS = ("ts", "amount", "exponent", "mcc", "lat", "lon")
LABEL_TEXTS = ("source", "tx", "verdict", "ts", "known", "merchant", "terminal", "mcc", "country",
               "device", "ip", "currency")
LABEL_NUMBERS = ("number", "ts", "known", "mcc", "amount", "exponent", "amount_ratio")


def payment(rng, i):
    at = NOW - datetime.timedelta(seconds=rng.randrange(3600))
    return {"id": f"t{i}", "ts": at.isoformat(), "card": shown(rng), "type": "purchase",
            "amount": f"{rng.randrange(1, 90000) / 100:.2f}", "currency": "EUR",
            "merchant": f"m{rng.randrange(200)}", "terminal": f"s{rng.randrange(400)}", "mcc": "5411",
            "country": "DE", "channel": "ecommerce", "entry": "manual",
            "device": f"d{rng.randrange(5000)}", "ip": "203.0.113.9", "lat": 52.5, "lon": 13.4}


def label(rng, i):
    at = NOW - datetime.timedelta(seconds=rng.randrange(60, 3600))
    return {"source": "chargebacks", "number": i + 1, "tx": f"t{rng.randrange(60000)}",
            "verdict": rng.choice(("fraud", "legitimate")), "ts": at.isoformat(),
            "known": at.isoformat(), "card": shown(rng), "merchant": "m1", "terminal": "s1",
            "mcc": "5411", "country": "DE", "device": "d1", "ip": "203.0.113.9", "amount": 5716,
            "currency": "EUR", "exponent": 2, "amount_ratio": 1.5}


def escaped(text):
    return re.sub("[0-9]", lambda m: "\\u%04x" % ord(m.group()), text)


def spoil(rng, message, texts, numbers):
    """One of the ways in which a number comes in; the first ones leave a good message."""
    way = rng.randrange(20)
    if way < 8:
        return json.dumps(message)
    if way < 10:
        text = free_text(rng)
        message[f"note_{rng.randrange(3)}"] = rng.choice((text, [text], {"a": {"b": text}}))
        return json.dumps(message)
    if way == 10:
        message[free_text(rng)] = 1
        return json.dumps(message)
    if way < 14:
        message[rng.choice(texts)] = free_text(rng)
        return json.dumps(message)
    if way == 14:
        message.update((name, free_text(rng)) for name in texts)
        return json.dumps(message)
    if way == 15:
        message[rng.choice(numbers)] = int(number(rng, rng.choice((13, 14, 15, 16))))
        return json.dumps(message)
    if way == 16:
        text = json.dumps(message)
        return text[: rng.randrange(1, len(text))] + '"' + shown(rng)
    if way == 17:
        return escaped(json.dumps(message))
    if way == 18:
        message["card"] = f"c{rng.randrange(500)}\0"
        message["merchant"] = shown(rng)
        return json.dumps(message)
    return rng.choice((free_text(rng), shown(rng) + " " * rng.randrange(2000) + shown(rng),
                       json.dumps([shown(rng)] * 50), " ".join(shown(rng) for _ in range(20))))


def make(kind, count):
    rng = random.Random(f"{kind} {count}")
    for i in range(count):
        if kind == "notices":
            key, value = shown(rng), free_text(rng)
        else:
            message = payment(rng, i) if kind == "payments" else label(rng, i)
            key = message["card"] if rng.random() < 0.8 else shown(rng)
            names = (PAYMENT_TEXTS, PAYMENT_NUMBERS) if kind == "payments" else (LABEL_TEXTS, LABEL_NUMBERS)
            value = spoil(rng, message, *names)
        sys.stdout.write(f"{key}~{value}\n")


# ---- in bytes ----

HEADER = b"\0" + struct.pack(">I", 7)
BYTE_TEXTS = tuple(t for t in PAYMENT_TEXTS if t not in ("ts", "amount", "mcc"))
BYTE_NUMBERS = ("ts", "amount")
MORE_PROTO = """
  string note = 40;
  map<string, string> tags = 41;
  bytes raw = 42;
  message Inner { string text = 1; }
  Inner inner = 43;
}"""


def schema(form):
    with open(f"etc/wire/transaction.{'avsc' if form == 'avro' else 'proto'}", encoding="utf-8") as f:
        text = f.read()
    if form == "protobuf":
        return text.rstrip().removesuffix("}") + MORE_PROTO
    record = json.loads(text)
    record["fields"] += [
        {"name": "note", "type": "string"},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "raw", "type": "bytes"},
        {"name": "inner", "type": {"type": "record", "name": "Inner", "fields": [{"name": "text", "type": "string"}]}},
    ]
    return json.dumps(record)


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes((n,))


def avro(m):
    def number(n):
        return varint(n << 1 if n >= 0 else (-n << 1) - 1)

    def text(s):
        data = s.encode()
        return number(len(data)) + data

    def optional(name, write):
        return number(1) + write(m[name]) if name in m else number(0)

    out = text(m["id"]) + number(m["ts"]) + text(m["card"]) + text(m["type"]) + number(m["amount"]) + text(m["currency"])
    out += optional("exponent", number) + optional("merchant", text) + optional("terminal", text) + optional("mcc", number)
    for name in "country", "channel", "entry", "device", "ip":
        out += optional(name, text)
    for name in "lat", "lon":
        out += optional(name, lambda v: struct.pack("<d", v))
    out += text(m.get("note", ""))
    for key, value in m.get("tags", {}).items():
        out += number(1) + text(key) + text(value)
    return HEADER + out + number(0) + text(m.get("raw", "")) + text(m.get("inner", ""))


PROTO_FIELDS = {"id": 1, "card": 3, "type": 4, "currency": 6, "merchant": 8, "terminal": 9, "country": 11,
                "channel": 12, "entry": 13, "device": 14, "ip": 15, "note": 40, "raw": 42}


def protobuf(m):
    def inner(field, data):
        return varint(field << 3 | 2) + varint(len(data)) + data

    def text(field, s):
        return inner(field, s.encode())

    seconds, micros = divmod(m["ts"], 1000000)
    out = inner(2, varint(1 << 3) + varint(seconds) + varint(2 << 3) + varint(micros * 1000))
    for name, field in PROTO_FIELDS.items():
        if name in m:
            out += text(field, m[name])
    out += varint(5 << 3) + varint(m["amount"]) + varint(10 << 3) + varint(m["mcc"])
    for name, field in ("lat", 16), ("lon", 17):
        out += varint(field << 3 | 1) + struct.pack("<d", m[name])
    for key, value in m.get("tags", {}).items():
        out += inner(41, text(1, key) + text(2, value))
    if "inner" in m:
        out += inner(43, text(1, m["inner"]))
    return HEADER + b"\0" + out


def spoil_bytes(rng, message, write):
    """As spoil; a number in a field that is not read leaves a good message."""
    way = rng.randrange(20)
    if 8 <= way < 10:
        message[rng.choice(("note", "raw", "inner"))] = free_text(rng)
    elif way == 10:
        message["tags"] = {free_text(rng): free_text(rng)}
    elif 11 <= way < 14:
        message[rng.choice(BYTE_TEXTS)] = free_text(rng)
    elif way == 14:
        message.update((name, free_text(rng)) for name in BYTE_TEXTS)
    elif way == 15:
        message[rng.choice(BYTE_NUMBERS)] = int(number(rng, rng.choice((13, 14, 15, 16))))
    elif way == 16:
        whole = write(message)
        return whole[: rng.randrange(1, len(whole))] + shown(rng).encode()
    elif way == 17:
        return write(message) + shown(rng).encode()
    elif way == 18:
        message["card"] = f"c{rng.randrange(500)}\0"
        message["merchant"] = shown(rng)
    elif way == 19:
        return rng.choice((b"", HEADER, HEADER[:4])) + free_text(rng).encode()
    return write(message)


class Producer:
    """librdkafka, which is here anyway: Kafka's console producer sends lines only."""

    def __init__(self, brokers, topic):
        self.lib = ctypes.CDLL("librdkafka.so.1")
        for name in "rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_topic_new":
            getattr(self.lib, name).restype = ctypes.c_void_p
        why = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self.lib.rd_kafka_conf_new())
        self.lib.rd_kafka_conf_set(conf, b"bootstrap.servers", brokers.encode(), why, len(why))
        self.client = ctypes.c_void_p(self.lib.rd_kafka_new(0, conf, why, len(why)))
        assert self.client, why.value
        self.topic = ctypes.c_void_p(self.lib.rd_kafka_topic_new(self.client, topic.encode(), None))

    def send(self, key, value):
        while self.lib.rd_kafka_produce(self.topic, -1, 2, value, ctypes.c_size_t(len(value)), key,
                                        ctypes.c_size_t(len(key)), None) != 0:
            self.lib.rd_kafka_poll(self.client, 100)  # its queue is full

    def close(self):
        assert self.lib.rd_kafka_flush(self.client, 60000) == 0, "not all was sent"


def send(form, count, brokers, topic):
    rng = random.Random(f"{form} {count}")
    to = Producer(brokers, topic)
    for i in range(count):
        message = payment(rng, i)
        at = datetime.datetime.fromisoformat(message["ts"])
        message.update(ts=int(at.timestamp() * 1e6), amount=rng.randrange(1, 90000), mcc=5411)
        key = message["card"] if rng.random() < 0.8 else shown(rng)
        value = spoil_bytes(rng, message, avro if form == "avro" else protobuf)
        to.send(key.encode(), value)
        sys.stdout.buffer.write(value + b"\n")
    to.close()


# ---- the search ----

PLAIN = re.compile(rb"(?<![0-9])" + rb"[ -]?".join(b"%c" % c for c in PREFIX.encode()) + rb"(?:[ -]?[0-9]){6,12}(?![0-9])")
HEX = re.compile(b"".join(b"3%c" % c for c in PREFIX.encode()) + rb"(?:(?:20|2d)?3[0-9]){6,12}")
ESCAPE = re.compile(rb"\\+u00(3[0-9]|20|2d)")


def numbers_in(data):
    data = ESCAPE.sub(lambda m: bytes.fromhex(m.group(1).decode()), data)
    for pattern in PLAIN, HEX:
        for m in pattern.finditer(data):
            text = m.group() if pattern is PLAIN else bytes.fromhex(m.group().decode())
            # where a number may end: before what is no digit
            ends = [i for i in range(1, len(text) + 1) if not text[i : i + 1].isdigit()]
            digits = (re.sub(rb"[^0-9]", b"", text[:i]).decode() for i in ends)
            if any(13 <= len(d) <= 19 and luhn(d) == 0 for d in digits):
                yield data[max(0, m.start() - 60) : m.end() + 20]


def search(files):
    found = 0
    for path in files:
        with open(path, "rb") as f:
            hits = list(numbers_in(f.read()))
        if hits:
            found += len(hits)
            print(f"{path}: {len(hits)} card numbers, such as {hits[0]!r}")
    return 1 if found else 0


def unpack(path):
    """Beside each frame of zstd what is in it."""
    zstd = ctypes.CDLL("libzstd.so.1")
    for name in "ZSTD_findFrameCompressedSize", "ZSTD_decompress":
        getattr(zstd, name).restype = ctypes.c_size_t
    with open(path, "rb") as f:
        data = f.read()
    out = ctypes.create_string_buffer(1 << 20)  # a block is 256 KiB
    frames = 0
    sys.stdout.buffer.write(data)
    at = data.find(b"\x28\xb5\x2f\xfd")
    while at >= 0:
        rest = data[at:]
        size = zstd.ZSTD_findFrameCompressedSize(rest, ctypes.c_size_t(len(rest)))
        if size <= len(rest):
            got = zstd.ZSTD_decompress(out, ctypes.c_size_t(len(out)), rest, ctypes.c_size_t(size))
            if got <= len(out):
                sys.stdout.buffer.write(out.raw[:got])
                frames += 1
        at = data.find(b"\x28\xb5\x2f\xfd", at + 1)
    print(f"{path}: {frames} frames", file=sys.stderr)


if sys.argv[1] == "make":
    make(sys.argv[2], int(sys.argv[3]))
elif sys.argv[1] == "schema":
    print(schema(sys.argv[2]))
elif sys.argv[1] == "send":
    send(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
elif sys.argv[1] == "search":
    sys.exit(search(sys.argv[2:]))
else:
    unpack(sys.argv[2])
