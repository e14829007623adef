"""A gcloud that keeps worker pools and builds by itself, and hands everything else to the real one.

gcloud talks gRPC over TLS to deploy a worker pool, where the recorder cannot stand in. So the real gcloud is
asked whether it knows the flags, and what was asked for is written down.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

UNKNOWN = "--no-such-flag"


def main(real: str, folder: Path, words: list[str]) -> int:
    """Answer one call as gcloud would."""
    if words[:3] != ["beta", "run", "worker-pools"] and words[:2] != ["builds", "submit"]:
        os.execv(real, [real, *words])  # noqa: S606 - the real one, named by the test
    with (folder / "calls.jsonl").open("a", encoding="utf-8") as calls:
        calls.write(json.dumps(words) + "\n")
    checked = subprocess.run([real, *words, UNKNOWN], capture_output=True, text=True, check=False)
    unrecognized = checked.stderr.partition("unrecognized arguments:")[2].split()
    if unrecognized[:1] != [UNKNOWN]:
        sys.stderr.write(f"gcloud does not take {words}: {checked.stderr}")
        return 1
    pool = folder / "pool.json"
    if words[0] == "beta" and words[3] == "deploy":
        flags = dict(word.removeprefix("--").partition("=")[::2] for word in words[5:])
        name, _, value = flags["labels"].partition("=")
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        pool.write_text(json.dumps({"metadata": {"labels": {name: value}}, "status": status}))
    elif words[0] == "beta" and words[3] == "delete":
        pool.unlink()
    elif words[0] == "beta" and not pool.exists():
        sys.stderr.write(
            "ERROR: (gcloud.beta.run.worker-pools.describe) Cannot find worker pool [libra-worker]\n"
        )
        return 1
    elif words[0] == "beta":
        sys.stdout.write(pool.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
