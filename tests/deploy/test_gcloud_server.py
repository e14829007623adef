"""The gcloud that the other tests share does what the one on the PATH does: prints, exits and asks alike."""

import subprocess
from pathlib import Path

import pytest

from tests.deploy.conftest import deployers_environment
from tests.deploy.google_apis import GoogleApis

WHERE = ("--project=kitchen-1",)
COMMANDS = (
    ("services", "enable", "run.googleapis.com", "firestore.googleapis.com", *WHERE),
    ("iam", "service-accounts", "create", "libra-runtime", "--display-name=Libra", *WHERE),
    ("run", "services", "describe", "libra", "--region=europe-west6", "--format=json", *WHERE),
    ("firestore", "databases", "describe", "--database=(default)", "--format=json", *WHERE),
    ("scheduler", "jobs", "list", "--location=europe-west6", "--format=value(name)", *WHERE),
    ("functions", "describe", "libra", "--gen2", "--region=europe-west6", "--no-such-flag", *WHERE),
    ("config", "list", "--format=json(core)"),
)


@pytest.mark.timeout(600)
def test_a_command_does_the_same_in_the_server(plain_gcloud: str, gcloud: str, tmp_path: Path) -> None:
    """The same status, output, errors and requests: for changes, reads, what is absent and a wrong flag."""
    seen = []
    for command in (plain_gcloud, gcloud, gcloud):  # the second time with what the first one imported
        with GoogleApis().serving() as apis:
            environment = deployers_environment(apis, command, tmp_path) | {
                "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"
            }
            ran = [
                subprocess.run(
                    [command, *words],
                    env=environment,
                    cwd=tmp_path,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                for words in COMMANDS
            ]
        printed = [(it.returncode, it.stdout, it.stderr.replace(apis.url, "HERE")) for it in ran]
        seen.append((printed, [(it.method, it.api, it.path, it.query, it.body) for it in apis.requests]))
    plain, first, second = seen
    assert {it[0] for it in plain[0]} == {0, 1, 2}
    assert first == plain
    assert second == plain
