"""A deployed function's settings as exports for a shell, so that `libra` runs with what is deployed.

A recompute from a laptop with a shorter LAG than the trigger's would set a watermark past entries that the
trigger takes for fresh. Taking over what is deployed rules that out.
"""

import json
import shlex
import sys
from typing import Any

from deploy.parameters import PARAMETERS


def exports(function: dict[str, Any]) -> list[str]:
    """One line for each setting that the function is given."""
    given = function.get("serviceConfig", {}).get("environmentVariables", {})
    names = [parameter.variable for parameter in PARAMETERS if parameter.runtime]
    return [f"export {name}={shlex.quote(given[name])}" for name in names if name in given]


def main() -> None:
    """Read what gcloud says of a function, as JSON, and print the exports."""
    for line in exports(json.load(sys.stdin)):
        print(line)  # noqa: T201 - what the shell reads


if __name__ == "__main__":
    main()
