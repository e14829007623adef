"""The GitHub workflow runs what `.ci/run` runs, with pinned actions and the least permissions."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load(TEXT)


def test_it_runs_the_same_as_everywhere() -> None:
    """One job, whose last step is `.ci/run` and nothing beside it."""
    (job,) = WORKFLOW["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert job["steps"][-1] == {"run": ".ci/run"}


def test_every_action_is_pinned_by_its_commit() -> None:
    """A tag can be moved to other code; a commit cannot. The comment names the version."""
    uses = re.findall(r"uses: (.+)", TEXT)
    assert uses
    assert [it for it in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", it)] == []


def test_it_may_only_read() -> None:
    """What a test does cannot change the repository."""
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in WORKFLOW["jobs"].values())
