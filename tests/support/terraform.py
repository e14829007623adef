"""What the Terraform files come to, without the provider: Terraform itself evaluates the arguments.

A resource is parsed (python-hcl2) and written again as an expression: its blocks as lists, `for_each` and
dynamic blocks as `for`. `terraform console` evaluates that beside the module's variables and locals. What
only the provider knows stays a name, such as `google_service_account.account[libra-api].email`.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "terraform"
REFERENCE = re.compile(
    r"(?P<name>(?:data\.)?google_\w+\.\w+)(?:\[(?P<index>[^\[\]]+)\])?\.(?P<rest>\w+(?:\[0\]\.\w+)?)"
)
MODULE = re.compile(r"module\.(\w+)(?:\[0\])?\.(\w+)")

Json = dict[str, Any]


def terraform(*words: str, cwd: Path = FOLDER, given: str = "") -> str:
    """What Terraform prints; the test is skipped where there is none."""
    found = shutil.which("terraform")
    if found is None:
        pytest.skip(
            "NOT CHECKED: there is no terraform here (1.5.7 or newer): https://developer.hashicorp.com/terraform/install"
        )
    done = subprocess.run(
        [found, *words], cwd=cwd, input=given, capture_output=True, text=True, check=False, timeout=120
    )
    said = re.sub(r"\x1b\[\d+m|│", "", done.stdout)
    faults = " ".join(re.sub(r"\x1b\[\d+m|│", "", done.stderr).split())
    assert done.returncode == 0, said + faults
    assert "Error: " not in faults, faults
    return said


def parsed(folder: Path, kind: str) -> Iterator[tuple[Any, ...]]:
    """The blocks of one kind in a folder's files: their labels and their body."""
    for file in sorted(folder.glob("*.tf")):
        with file.open(encoding="utf-8") as opened:
            for block in hcl2.load(opened).get(kind, []):
                yield from _labelled(block)


def _labelled(block: Json) -> Iterator[tuple[Any, ...]]:
    """Labels are keys one in another; a body says that it is one."""
    for label, body in block.items():
        if body.get("__is_block__"):
            yield label.strip('"'), body
        else:
            yield from ((label.strip('"'), *rest) for rest in _labelled(body))


def arguments(body: Json) -> Json:
    """A body without what the parser adds."""
    return {name.strip('"'): value for name, value in body.items() if not name.startswith("__")}


class Module:
    """A module with values for its variables."""

    def __init__(self, folder: Path, values: Mapping[str, object]) -> None:
        self.folder, self.values = folder, values

    def evaluate(self, *expressions: str) -> list[Any]:
        """What expressions come to, beside the module's variables and locals."""
        with tempfile.TemporaryDirectory() as made:
            for name in ("variables.tf", "more.tf", "locals.tf"):
                if (self.folder / name).is_file():
                    shutil.copy2(self.folder / name, made)
            (Path(made) / "given.auto.tfvars.json").write_text(json.dumps(self.values), encoding="utf-8")
            given = f"jsonencode([{', '.join(expressions)}])\n"
            printed = terraform("console", cwd=Path(made), given=given)
        return list(json.loads(json.loads(printed)))

    def resources(self) -> dict[str, Json]:
        """Each resource's arguments by its address, such as `google_x.account["libra-build"]`."""
        blocks = [(f"{kind}.{name}", arguments(body)) for kind, name, body in parsed(self.folder, "resource")]
        found = self.evaluate(*(self._expression(body) for _, body in blocks))
        return {
            _addressed(address, key): value
            for (address, _), instances in zip(blocks, found, strict=True)
            for key, value in instances
        }

    def modules(self) -> dict[str, Json]:
        """The arguments of each module that is called, by its name; `name[0]` for one that is counted."""
        blocks = [(name, arguments(body)) for name, body in parsed(self.folder, "module")]
        found = self.evaluate(*(self._expression(body) for _, body in blocks))
        return {
            _addressed(name, key): value
            for (name, _), instances in zip(blocks, found, strict=True)
            for key, value in instances
        }

    def _expression(self, body: Json) -> str:
        """A list of instances, each with its key."""
        own = {"depends_on", "lifecycle", "provider"}  # Terraform's, and no arguments
        body = {name: value for name, value in body.items() if name not in own}
        each, count = body.pop("for_each", None), body.pop("count", None)
        instance = _object(body)
        if each is not None:
            return f"[for each in {_items(_text(each))} : [each.key, {instance}]]"
        if count is not None:
            return f"[for index in range({_text(count)}) : [index, {instance}]]"
        return f"[[null, {instance}]]"


def _addressed(address: str, key: str | int | None) -> str:
    return address if key is None else f"{address}[{json.dumps(key)}]"


def _items(collection: str) -> str:
    return f"[for key, value in {collection} : {{ key = key, value = value }}]"


def _object(body: Json) -> str:
    parts = [f"{name} = {_text(value)}" for name, value in arguments(body).items() if name != "dynamic"]
    for dynamic in body.get("dynamic", []):
        ((label, block),) = dynamic.items()
        name, (content,) = label.strip('"'), block["content"]
        parts.append(f"{name} = [for {name} in {_items(_text(block['for_each']))} : {_object(content)}]")
    return "{ " + ", ".join(parts) + " }"


def _text(value: object) -> str:
    """An expression, on one line."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, dict):
        if value.get("__is_block__"):
            return _object(value)
        return "{ " + ", ".join(f"{_key(key)} = {_text(it)}" for key, it in arguments(value).items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    text = str(value)
    if text.startswith("${") and text.endswith("}"):
        text = text[2:-1]
    return _known(" ".join(text.split("\n")))


def _key(name: str) -> str:
    return name if re.fullmatch(r"\w+", name) else json.dumps(name)


def _known(text: str) -> str:
    """What only the provider or another module knows becomes its name."""

    def named(match: re.Match[str]) -> str:
        if match["index"]:
            return f'format("{match["name"]}[%s].{match["rest"]}", {match["index"]})'
        return f'"{match["name"]}.{match["rest"]}"'

    return MODULE.sub(lambda it: f'"module.{it[1]}.{it[2]}"', REFERENCE.sub(named, text))
