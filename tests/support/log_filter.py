"""The part of Cloud Logging's query language that our filters use, on a log line as Cloud Logging keeps it.

Strict: what it does not know it refuses, so that no filter passes a test that it was not read in. It knows
comparisons of a field with a quoted string, a number or a list of strings, all of which have to hold
(https://cloud.google.com/logging/docs/view/logging-query-language, 2026-11).
"""

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_STRING = r'"(?:[^"\\]|\\.)*"'
_COMPARISON = re.compile(
    rf"\s*(?P<field>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?P<operator>=~|>=|<=|=|>|<)"
    rf"(?P<value>{_STRING}|-?\d+(?:\.\d+)?(?![\w.])|\({_STRING}(?: OR {_STRING})*\))(?=\s|$)"
)
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class UnknownFilterError(Exception):
    """A filter uses what this module does not know."""


LABELS = {"revision": "service_name", "worker_pool": "worker_pool_name", "job": "job_name"}
"""What Cloud Logging calls the name of each kind of Cloud Run's resources."""


def kept(line: str, service: str, *, kind: str = "revision") -> dict[str, Any]:
    """A line that a container of a service, a worker pool or a job wrote, as Cloud Logging keeps it.

    It takes the severity and the trace out of the JSON, and leaves the message in
    (https://cloud.google.com/logging/docs/structured-logging, 2026-11).
    """
    payload = json.loads(line)
    entry = {
        "severity": payload.pop("severity"),
        "resource": {"type": f"cloud_run_{kind}", "labels": {LABELS[kind]: service}},
    }
    if trace := payload.pop("logging.googleapis.com/trace", None):
        entry["trace"] = trace
    return entry | {"jsonPayload": payload}


def counting(metrics: Mapping[str, Any], lines: str, service: str, *, kind: str = "revision") -> set[str]:
    """The metrics that count a line of a service. Each label finds its field; nobody else's line counts."""
    written = lines.splitlines()
    entries, others = (
        [kept(line, name, kind=kind) for line in written] for name in (service, "somebody-elses")
    )
    found = set()
    for name, metric in metrics.items():
        for entry in (each for each in entries if matches(metric["filter"], each)):
            found.add(name)
            for label, extractor in metric.get("labelExtractors", {}).items():
                field = re.fullmatch(r"EXTRACT\(jsonPayload\.(\w+)\)", extractor)
                assert field, extractor
                assert entry["jsonPayload"][field[1]], label
        assert not any(matches(metric["filter"], each) for each in others), name
    return found


def matches(text: str, entry: Mapping[str, Any]) -> bool:
    """Whether a filter matches a log entry.

    Raises:
        UnknownFilterError: the filter uses what this module does not know.
    """
    comparisons = list(_comparisons(text))  # all of them, so that each is known
    return all(_holds(*comparison, entry) for comparison in comparisons)


def _comparisons(text: str) -> Iterator[tuple[str, str, str]]:
    position = 0
    while text[position:].strip():
        found = _COMPARISON.match(text, position)
        if found is None:
            raise UnknownFilterError(
                f"{text[position:].strip()!r} is no comparison that is known here: {text}"
            )
        yield found["field"], found["operator"], found["value"]
        position = found.end()


def _holds(field: str, comparison: str, value: str, entry: Mapping[str, Any]) -> bool:
    """Of a field that is a list, one element has to match; a field that is not there never does."""
    found: Any = entry
    for part in field.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return any(_compared(each, comparison, value) for each in (found if isinstance(found, list) else [found]))


def _compared(found: object, comparison: str, value: str) -> bool:
    if comparison in _ORDERED:
        if not re.fullmatch(r"-?[\d.]+", value):
            raise UnknownFilterError(f"{comparison}{value}: only numbers are ordered here")
        return isinstance(found, int | float) and _ORDERED[comparison](found, float(value))
    if comparison == "=~":
        if not value.startswith('"'):
            raise UnknownFilterError(f"=~{value}: a pattern is quoted")
        return isinstance(found, str) and re.search(json.loads(value), found) is not None
    if re.fullmatch(r"-?[\d.]+", value):
        return isinstance(found, int | float) and found == float(value)
    # Google's `=` does not tell upper from lower case.
    wanted = [json.loads(each).casefold() for each in re.findall(_STRING, value)]
    return isinstance(found, str) and found.casefold() in wanted
