"""The files in `deploy/monitoring`, as they are sent: metrics, objectives, alert policies and the dashboard.

`${project}`, `${runbook}` and `${worker_pool}` in a file stand for parameters. Google fills in defaults of
its own, so what is sent carries a digest as a label. A second `up` compares the digests.

Metrics and alerts of usage and of ingestion (`OPTIONAL`) go with `--usage=on` and `--ingestion=on` alone: one
that waits for a flush would fire where there is none.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILES = Path(__file__).resolve().parent / "monitoring"
BUILT = "build/monitoring"
"""Where `render` writes, relative to the root of the project."""
POOL = "libra-worker"
"""What deploy.sh calls the worker pool, the account that it runs as, and its image. Terraform has a variable
for the pool."""
OPTIONAL = {
    "LIBRA_USAGE": ("usage-", "libra-usage-"),
    "LIBRA_INGESTION": ("ingestion-", "libra-ingestion-"),
}
"""The parameters with which alone some files are sent, and how the names of those begin."""
LABEL, CONFIG = "libra", "libra-config"
"""The labels of what Libra made: the file's name, and the digest."""

Json = dict[str, Any]


def metrics(values: Mapping[str, str]) -> dict[str, Json]:
    """The log-based metrics by name. They have no labels."""
    return {name: {"name": name} | metric for name, metric in _files("metrics", values).items()}


def objectives(values: Mapping[str, str]) -> dict[str, Json]:
    """The service level objectives by name."""
    found = _files("objectives", values)
    return {name: _labelled("userLabels", name, objective) for name, objective in found.items()}


def alerts(values: Mapping[str, str]) -> dict[str, Json]:
    """The alert policies by name, with whom they notify."""
    project = values["GOOGLE_CLOUD_PROJECT"]
    channels = [
        channel if "/" in channel else f"projects/{project}/notificationChannels/{channel}"
        for channel in filter(None, values["LIBRA_NOTIFY"].split(","))
    ]
    notified = {"notificationChannels": channels} if channels else {}
    policies = _files("alerts", values)
    return {name: _labelled("userLabels", name, policy | notified) for name, policy in policies.items()}


def dashboards(values: Mapping[str, str]) -> dict[str, Json]:
    """The dashboard, by name."""
    boards = _files("dashboard", values)
    return {name: _labelled("labels", name, board) for name, board in boards.items()}


def render(values: Mapping[str, str], root: Path) -> None:
    """Write what is sent."""
    shutil.rmtree(root / BUILT, ignore_errors=True)
    kinds = {
        "metrics": metrics(values),
        "objectives": objectives(values),
        "alerts": alerts(values),
        "dashboard": dashboards(values),
    }
    for kind, contents in kinds.items():
        folder = root / BUILT / kind
        folder.mkdir(parents=True)
        for name, content in contents.items():
            text = json.dumps(content, indent=2, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _files(kind: str, values: Mapping[str, str]) -> dict[str, Json]:
    """The files of one folder by name, with the parameters filled in."""
    unwanted = tuple(it for variable, names in OPTIONAL.items() if values[variable] != "on" for it in names)
    found = {
        file.stem: file.read_text(encoding="utf-8")
        for file in sorted((FILES / kind).glob("*.json"))
        if not file.stem.startswith(unwanted)
    }
    parameters = {
        "${project}": values["GOOGLE_CLOUD_PROJECT"],
        "${runbook}": values["LIBRA_RUNBOOK"],
        "${worker_pool}": POOL,
    }
    for parameter, value in parameters.items():
        found = {name: text.replace(parameter, value) for name, text in found.items()}
    return {name: dict(json.loads(text)) for name, text in found.items()}


def _labelled(field: str, name: str, content: Json) -> Json:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:40]
    return content | {field: {LABEL: name, CONFIG: digest}}
