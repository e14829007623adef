"""``make fuzz``: coverage-guided garbage at the event decoder, for a minute.

What hypothesis draws in `test_hostile_input` knows the shapes of an event; this knows nothing, and finds its
way by the branches that its garbage reaches. What breaks the decoder is left in ``build/fuzz``.
"""

import argparse
import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["events", "shared"]):
    from tests.faults.test_hostile_input import CONTENT, VALID, decoded

HERE = Path("build/fuzz")
AS_JSON = {
    "value": {
        "name": "projects/p/databases/(default)/documents/libra/e1",
        "createTime": "2025-09-04T18:57:29.123456Z",
        "fields": {
            "ingredient": {"stringValue": "Kettle Chips"},
            "timestamp": {"timestampValue": "2025-09-04T18:57:29Z"},
            "amount": {"doubleValue": 12.5},
            "device": {"mapValue": {"fields": {"tags": {"arrayValue": {"values": [{"nullValue": None}]}}}}},
        },
    }
}


def attempt(data: bytes) -> None:
    """One event: as protobuf, or, after a first byte of ``{``, as JSON if it is that."""
    # What may never be told is fine in a document's name, and this may move it there.
    data = data.replace(CONTENT.encode(), b"Kettle Chips")
    decoded(data)
    if data.startswith(b"{"):
        try:
            parsed = json.loads(data)
        except (ValueError, RecursionError):
            return
        decoded(parsed)


def main() -> None:
    """Does not return: the fuzzer ends the process, with 0 if nothing broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    corpus = HERE / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "protobuf").write_bytes(VALID)
    (corpus / "json").write_text(json.dumps(AS_JSON))
    asked = parser.parse_args()
    options = [f"-max_total_time={asked.seconds}", "-timeout=1", "-max_len=4096", f"-artifact_prefix={HERE}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
