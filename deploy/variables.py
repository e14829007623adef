"""`python -m deploy.variables`: the parameters as Terraform's variables: `deploy/terraform/variables.tf`.

A parameter that is on or off is a bool. All others are strings: Terraform takes 5 for "5". `pitr`
has no `keep` and no default: see `NARROWER`.
"""

import json

from deploy.parameters import PARAMETERS, Parameter

NAMES = {
    "--project": "project_id",
    "--database": "firestore_database",
    "--memory": "memory_limit",
    "--cpu": "cpu_limit",
    "--monitoring": "enable_monitoring",
}
"""The variables that are not called as their flags are."""
SWITCHES = ("on|off", "off|on")
NARROWER = {"--pitr": "on|off", "--board": "off|on"}
"""Where Terraform allows less. It cannot keep what it does not know: a recovery that is not given is the
provider's default, DISABLED (hashicorp/google 6.50.0), so `keep` would switch off what is on. The page of the
board is the Firebase CLI's, so that Terraform has nothing to `replace`."""
REQUIRED = ("--project", "--region", "--pitr")
"""What has no default."""
HEAD = "# Written by python -m deploy.variables from deploy/parameters.py: change that file.\n"


def name_of(parameter: Parameter) -> str:
    """Its variable in Terraform."""
    return NAMES.get(parameter.flag) or parameter.flag.removeprefix("--").replace("-", "_")


def variable(parameter: Parameter) -> str:
    """The block of one variable."""
    name, switch = name_of(parameter), parameter.allowed in SWITCHES
    allowed = NARROWER.get(parameter.flag, parameter.allowed)
    default = json.dumps(parameter.default == "on" if switch else parameter.default)
    lines = [
        f'variable "{name}" {{',
        f"  description = {json.dumps(parameter.meaning)}",
        f"  type        = {'bool' if switch else 'string'}",
    ]
    if parameter.flag not in REQUIRED:
        lines.append(f"  default     = {default}")
    if not switch and allowed != r".+":
        pattern = json.dumps(f"^({allowed})$")
        said = f"{name}: {parameter.meaning}; allowed is what matches {allowed}."
        empty = f'var.{name} == "" || ' if not parameter.default and parameter.flag not in REQUIRED else ""
        lines += [
            "",
            "  validation {",
            f"    condition     = {empty}can(regex({pattern}, var.{name}))",
            f"    error_message = {json.dumps(said)}",
            "  }",
        ]
    return "\n".join([*lines, "}"])


def text() -> str:
    """The whole file."""
    return "\n".join([HEAD, *(f"{variable(parameter)}\n" for parameter in PARAMETERS)])


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201 - to write to deploy/terraform/variables.tf
