"""`python -m tests.deploy.extract_schema WHEEL BETA`: what the Google providers take, of what we use.

The providers cannot be run in the tests. Wheels on PyPI have their schema: cdktf-cdktf-provider-google and
cdktf-cdktf-provider-google-beta 16.12.1, generated from hashicorp/google and google-beta 6.50.0: a class for
each block, with its arguments and their types. The output is tests/deploy/provider_schema.json. The wheels
are a source of the schema, and nothing else of them is used.
"""

import ast
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("provider_schema.json")
META = {"connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioners"}
"""Terraform's own arguments, which every block has."""
PLAIN = {"str": "string", "Number": "number", "bool": "bool"}

Json = dict[str, Any]


def used(folder: Path = ROOT / "deploy" / "terraform") -> list[str]:
    """The resources and data sources that the files name: `google_x`, or `data.google_x`."""
    found = set()
    for file in folder.rglob("*.tf"):
        blocks = re.findall(
            r'^(resource|data) "(google_\w+)"', file.read_text(encoding="utf-8"), re.MULTILINE
        )
        found |= {name if kind == "resource" else f"data.{name}" for kind, name in blocks}
    return sorted(found)


def is_beta(name: str) -> bool:
    """Whether google-beta alone has a resource. Those of Firebase's rules are in both."""
    return name.startswith("google_firebase_") or name == "google_dataflow_flex_template_job"


def module_of(name: str) -> str:
    """The module of its wheel that has a resource."""
    if is_beta(name):
        return f"cdktf_cdktf_provider_google_beta/{name}"
    plain = name.removeprefix("data.").removeprefix("google_")
    return f"cdktf_cdktf_provider_google/{'data_google_' if name.startswith('data.') else ''}{plain}"


def schema(source: str) -> Json:
    """The arguments of a resource, from its module's source."""
    classes = {it.name: it for it in ast.parse(source).body if isinstance(it, ast.ClassDef)}
    (config,) = [name for name in classes if name.endswith("Config") and _is_resource(classes[name])]
    return {name: it for name, it in _block(classes, config).items() if name not in META}


def _is_resource(node: ast.ClassDef) -> bool:
    return any(
        isinstance(base, ast.Attribute) and base.attr == "TerraformMetaArguments" for base in node.bases
    )


def _block(classes: dict[str, ast.ClassDef], name: str) -> Json:
    (init,) = [it for it in classes[name].body if isinstance(it, ast.FunctionDef) and it.name == "__init__"]
    return {
        argument.arg: _argument(classes, ast.unparse(argument.annotation))
        for argument in init.args.kwonlyargs
        if argument.annotation and argument.arg not in META
    }


def _argument(classes: dict[str, ast.ClassDef], annotation: str) -> Json:
    found: Json = {"required": not annotation.startswith("typing.Optional[")}
    blocks = [it for it in re.findall(r"\w+", annotation) if it in classes]
    if blocks:
        return found | {"block": _block(classes, blocks[0])}
    plain = next((PLAIN[it] for it in re.findall(r"\w+", annotation) if it in PLAIN), "any")
    if "Mapping" in annotation:
        return found | {"type": f"map of {plain}"}
    return found | {"type": f"list of {plain}" if "Sequence" in annotation else plain}


def main(wheel: str, beta: str) -> None:
    """Write the table."""
    with zipfile.ZipFile(wheel) as stable, zipfile.ZipFile(beta) as other:
        table = {
            name: schema(
                (other if is_beta(name) else stable).read(f"{module_of(name)}/__init__.py").decode("utf-8")
            )
            for name in used()
        }
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
