"""Runs a module as `python -m` does, with its calls to Firestore counted.

`python -m tests.bench.serve METER MODULE ARGUMENT ...`, such as functions_framework or services.worker.
"""

import runpy
import sys
from pathlib import Path

from tests.bench.meter import Meter


def main() -> None:
    """Count into the file that the first argument names; the rest is the module's."""
    meter, module, *arguments = sys.argv[1:]
    Meter(Path(meter)).install()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
