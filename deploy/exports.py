"""A deployed function's settings, so that `libra` runs with what is deployed.

A recompute from a laptop with a shorter LAG than the trigger's would set a watermark past entries that the
trigger takes for fresh. Taking over what is deployed rules that out.
"""

from typing import Any

from deploy.parameters import PARAMETERS


def exports(function: dict[str, Any]) -> dict[str, str]:
    """The settings that a function is given, by variable; `function` is what gcloud prints of it as JSON."""
    given = function.get("serviceConfig", {}).get("environmentVariables", {})
    names = [parameter.variable for parameter in PARAMETERS if parameter.runtime]
    return {name: given[name] for name in names if name in given}
