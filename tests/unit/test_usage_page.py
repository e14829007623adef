"""docs/usage.md: the recipes run the job and set what it reads; variables and commands are the real ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.commands import usage
from deploy.arguments import flags_of
from deploy.parameters import default
from deploy.steps.usage import SECRETS
from services.usage import settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "usage.md").read_text(encoding="utf-8")
JOB = ["python", "-m", "services.usage"]
BOTH = {"LIBRA_REDIS_URL", "LIBRA_POSTGRES_URL"}


def recipe(language: str) -> str:
    """The only block of a language that is no command."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found[-1]


def test_the_cron_job_runs_the_flush() -> None:
    """Runs may overlap; a failed one is not repeated before the next."""
    spec = yaml.safe_load(recipe("yaml"))["spec"]
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == JOB
    assert {it["name"] for it in container["env"]} == BOTH
    assert spec["schedule"] == "*/5 * * * *"


def test_the_task_of_ecs_runs_the_flush() -> None:
    """With both addresses as secrets."""
    (container,) = json.loads(recipe("json"))["containerDefinitions"]
    assert container["command"] == JOB
    assert {it["name"] for it in container["secrets"]} == BOTH


@pytest.mark.parametrize("status", [0, 3])
def test_the_lambda_fails_where_the_flush_does(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform counts an exception as a failure, and nothing else."""
    monkeypatch.setattr("services.usage.__main__.main", lambda _: status)
    space: dict[str, Any] = {}
    exec(recipe("python"), space)  # noqa: S102 - the page's own code is what is tested
    if status:
        with pytest.raises(RuntimeError, match="status 3"):
            space["handler"]({}, None)
    else:
        assert space["handler"]({}, None) is None


def test_the_job_of_cloud_run_has_both_addresses() -> None:
    """As secrets of the names that deploy.sh takes, and a step that there is."""
    created = dict(re.findall(r'"\$(\w+)" \| gcloud secrets create (\S+) ', recipe("bash")))
    assert created == {it: default(SECRETS[it]).partition(":")[0] for it in BOTH}
    (command,) = re.findall(r"^\./deploy\.sh (.*)$", recipe("bash"), re.MULTILINE)
    flags = flags_of(command.split())
    assert (flags["only"], flags["LIBRA_USAGE"]) == ("services,accounts,usage", "on")


def test_every_variable_that_is_read_is_on_the_page_with_its_default() -> None:
    """And no other."""
    rows = dict(re.findall(r"^\| `(LIBRA_\w+)` \| (\S*) ?\|", PAGE, re.MULTILINE))
    read = set(
        re.findall(r"LIBRA_(?:USAGE_\w+|REDIS_URL|POSTGRES_URL)", Path(settings.__file__).read_text("utf-8"))
    )
    assert rows.keys() == read
    assert rows["LIBRA_USAGE_CLOSE_SECONDS"] == str(settings.CLOSE_SECONDS)
    assert rows["LIBRA_USAGE_EVERY_SECONDS"] == str(settings.EVERY_SECONDS)


def test_every_command_is_on_the_page() -> None:
    """With what it does."""
    found = set(re.findall(r"^\| `libra usage (\w+)", PAGE, re.MULTILINE))
    assert found == set(usage.command.commands)
