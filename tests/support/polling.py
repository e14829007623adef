"""A reader that polls while exports are killed and run again."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.stack import ROOT
from shared.exports import STEPS


@dataclass
class Seen:
    """What came of it."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    """What the exports said: see `tests.support.killed_exports`."""
    looks: int = 0
    snapshots: set[str] = field(default_factory=set)


def poll(
    place: str,
    environment: Mapping[str, str],
    look: Callable[[], str | None],
    *,
    occurrences: int = 2,
    pause: float = 0,
) -> Seen:
    """Run the exports. All the while call ``look``, which names a snapshot that it found, and found whole."""
    seen = Seen()
    named = dict(os.environ) | {"GOOGLE_CLOUD_PROJECT": "demo-memory"} | dict(environment)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.killed_exports", place, str(occurrences)],
        env=named | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while process.poll() is None:
                seen.looks += 1
                time.sleep(pause)
                if name := look():
                    seen.snapshots.add(name)
            out, errors = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 0, errors
    seen.lines = [json.loads(line) for line in out.splitlines()]
    return seen


def check(seen: Seen, *, without: tuple[str, ...] = ()) -> None:
    """Every step killed an export, each snapshot was whole, and each second try succeeded."""
    killed = {line["step"] for line in seen.lines if line["killed"]}
    assert killed == set(STEPS) - set(without)
    assert [line for line in seen.lines if not (line["whole"] and line["again"])] == []
    assert len(seen.snapshots) >= 2, seen.looks
