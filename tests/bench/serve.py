"""Starts functions-framework as its own command does, with the calls to Firestore counted.

`python -m tests.bench.serve METER --source FILE --target NAME --port PORT`
"""

import sys
from pathlib import Path

from functions_framework._cli import _cli

from tests.bench.meter import Meter


def main() -> None:
    """Count into the file that the first argument names; the rest is functions-framework's."""
    Meter(Path(sys.argv[1])).install()
    _cli(sys.argv[2:], prog_name="functions-framework")


if __name__ == "__main__":
    main()
