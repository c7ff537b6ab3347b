#!/usr/bin/python3
"""The JSON schemas of etc/wire/: they are schemas, every example fits its own, bad messages do not.

tests/unit/test_wire_examples.c reads the same examples with the program's decoder.
"""
import json
import pathlib
import sys

import jsonschema

WIRE = pathlib.Path(__file__).resolve().parents[2] / "etc" / "wire"

# Schema, example to change, member, bad value (None: the member is left out).
BAD = [
    ("transaction", "transaction", "card", None),
    ("transaction", "transaction", "card", ""),
    ("transaction", "transaction", "card", "x" * 129),
    ("transaction", "transaction", "amount", -1),
    ("transaction", "transaction", "amount", 57.16),
    ("transaction", "transaction", "amount", 1e300),
    ("transaction", "transaction", "amount", "NaN"),
    ("transaction", "transaction", "amount", "-5"),
    ("transaction", "transaction", "amount", "1e3"),
    ("transaction", "transaction", "currency", "eur"),
    ("transaction", "transaction", "type", "gift"),
    ("transaction", "transaction", "ts", "1900-01-01T00:00:00Z"),
    ("transaction", "transaction", "ts", "2100-01-01T00:00:00Z"),
    ("transaction", "transaction", "ts", 1775046605),
    ("transaction", "transaction", "lat", 52.5),
    ("transaction", "transaction-full", "lat", 91),
    ("transaction", "transaction-full", "mcc", "54111"),
    ("transaction", "transaction-full", "country", "de"),
    ("transaction", "transaction-full", "channel", "fax"),
    ("transaction", "transaction-full", "exponent", 5),
    ("decision", "decision", "score", 1.01),
    ("decision", "decision", "outcome", "perhaps"),
    ("decision", "decision", "schema", "00AB12CD34EF5678"),
    ("decision", "decision", "id", "payments/3"),
    ("decision", "decision-review", "reasons", [1]),
    ("alert", "alert", "card", None),
    ("label", "label", "verdict", "maybe"),
    ("label", "label", "number", -1),
    ("label", "label", "amount", 100),
    ("dead-letter", "dead-letter", "reason", "none"),
]


def main():
    failures = []
    schemas = {}
    for path in sorted(WIRE.glob("*.schema.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.Draft7Validator.check_schema(schema)
        schemas[path.name.removesuffix(".schema.json")] = jsonschema.Draft7Validator(schema)

    examples = {}
    for path in sorted(WIRE.glob("examples/*.json")):
        examples[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        kind = next((k for k in schemas if path.stem == k or path.stem.startswith(k + "-")), None)
        if kind is None:
            failures.append(f"{path.name}: there is no schema for it")
            continue
        failures += [f"{path.name}: {e.message}" for e in schemas[kind].iter_errors(examples[path.stem])]

    failures += [f"{kind}: there is no example" for kind in schemas if kind not in examples]
    for kind, example, member, value in BAD:
        message = dict(examples[example])
        message.pop(member, None)
        if value is not None:
            message[member] = value
        if schemas[kind].is_valid(message):
            failures.append(f"{kind}: accepts {member} = {value!r}")

    print("\n".join(failures) or f"{len(examples)} examples, {len(BAD)} bad messages: as they should be")
    return 1 if failures or not examples else 0


if __name__ == "__main__":
    sys.exit(main())
