"""docs/usage.md: the recipes run the job and set what it reads; variables and commands are the real ones."""

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
from services.usage.application import ACCOUNTS, AUDIENCE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "usage.md").read_text(encoding="utf-8")
RECIPES = Path(__file__).resolve().parents[2] / "deploy" / "recipes"
JOB = ["python", "-m", "services.usage"]
BOTH = {"LIBRA_REDIS_URL", "LIBRA_POSTGRES_URL"}


def recipe(language: str) -> str:
    """The only block of a language that is no command."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found[-1]


def stack(name: str) -> dict[str, Any]:
    """The resources of a stack of CloudFormation, by type; what a function yields is left out."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda *_: "")
    text = (RECIPES / f"{name}.yaml").read_text("utf-8")
    found = yaml.load(text, Loader)["Resources"]  # noqa: S506 - a safe one
    return {it["Type"]: it["Properties"] for it in found.values()}


def test_the_cron_job_runs_the_flush() -> None:
    """Runs may overlap; a failed one is not repeated before the next."""
    spec = yaml.safe_load((RECIPES / "cronjob.yaml").read_text("utf-8"))["spec"]
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == JOB
    assert {it["name"] for it in container["env"]} == BOTH
    assert spec["schedule"] == "*/5 * * * *"
    assert (spec["concurrencyPolicy"], spec["jobTemplate"]["spec"]["backoffLimit"]) == ("Allow", 0)


def test_the_task_of_ecs_runs_the_flush() -> None:
    """With both addresses as secrets."""
    (container,) = stack("ecs")["AWS::ECS::TaskDefinition"]["ContainerDefinitions"]
    assert container["Command"] == JOB
    assert {it["Name"] for it in container["Secrets"]} == BOTH


def test_the_function_of_lambda_has_both_addresses_and_runs_once() -> None:
    """Neither the schedule nor Lambda repeats a failed run: the next one books what it left."""
    made = stack("lambda")
    assert made["AWS::Lambda::Function"]["Environment"]["Variables"].keys() == BOTH
    assert made["AWS::Lambda::EventInvokeConfig"]["MaximumRetryAttempts"] == 0
    for name in ("ecs", "lambda"):
        schedule = stack(name)["AWS::Scheduler::Schedule"]
        assert schedule["ScheduleExpression"] == "rate(5 minutes)"
        assert schedule["Target"]["RetryPolicy"] == {"MaximumRetryAttempts": 0}


def test_every_recipe_is_on_the_page_and_checked() -> None:
    """By `make check-recipes`, which CI runs."""
    names = {f"deploy/recipes/{it.name}" for it in RECIPES.iterdir()}
    assert names == set(re.findall(r"\(\.\./(deploy/recipes/[^)]+)\)", PAGE))
    root = RECIPES.parents[1]
    makefile = (root / "Makefile").read_text("utf-8")
    checked = re.search(r"^check-recipes:(?:.*\n)(?:\t.*\n)+", makefile, re.MULTILINE)
    assert checked
    assert names == set(re.findall(r"deploy/recipes/\S+", checked[0]))
    assert "check-recipes" in (root / ".ci" / "run").read_text("utf-8")


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
    assert {AUDIENCE, ACCOUNTS} == set(re.findall(r"^\| `(LIBRA_\w+)` \| .*Required \|", PAGE, re.MULTILINE))
    assert rows["LIBRA_USAGE_CLOSE_SECONDS"] == str(settings.CLOSE_SECONDS)
    assert rows["LIBRA_USAGE_EVERY_SECONDS"] == str(settings.EVERY_SECONDS)


def test_every_command_is_on_the_page() -> None:
    """With what it does."""
    found = set(re.findall(r"^\| `libra usage (\w+)", PAGE, re.MULTILINE))
    assert found == set(usage.command.commands)
