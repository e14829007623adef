"""`python -m pipelines --pipeline NAME ...`: what the image starts, for every pipeline.

A template's parameters are its only way to tell a job anything, so ``--settings`` takes what is an
environment variable elsewhere: ``--settings='LIBRA_TIME_ZONE=Europe/Zurich;FIRESTORE_DATABASE=kitchen'``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

PIPELINES = ("count", "events_to_bigquery", "recompute")
"""The modules of `pipelines` that can be started; each has a `main` that takes arguments."""


def main(arguments: Sequence[str]) -> int:
    """Start a pipeline; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__, allow_abbrev=False)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pipeline", choices=PIPELINES, help="which one; what else is given is its own")
    what.add_argument("--check", action="store_true", help="load every pipeline, and start none")
    parser.add_argument("--settings", default="", help="environment variables: NAME=VALUE;NAME=VALUE")
    given, more = parser.parse_known_args(arguments)
    for setting in filter(None, given.settings.split(";")):
        name, equals, value = setting.partition("=")
        if not equals:
            parser.error(f"--settings: expected NAME=VALUE;NAME=VALUE, found {setting!r}")
        os.environ[name] = value
    names = PIPELINES if given.check else (given.pipeline,)
    mains = [import_module(f"pipelines.{name}").main for name in names]
    return 0 if given.check else int(mains[0](more))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
