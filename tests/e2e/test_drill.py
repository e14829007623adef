"""`libra drill` as a person runs it: a database is lost and restored, and every total ends exact."""

import json
import re
import shutil
import subprocess

from cli.commands.drill import cloud_commands
from tests.e2e.test_cli_up import run


def test_a_restore_ends_exact() -> None:
    """With entries after the backup and into the empty database; verify finds what the recompute repairs."""
    ended = run("drill", "restore", "--entries", "150", "--seed", "5", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    done = json.loads(ended.stdout)
    assert done["exact"] is True
    assert (done["backed_up"], done["lost"], done["meanwhile"], done["sent_again"]) == (150, 50, 30, 50)
    assert done["wrong"] > 0  # the import has overwritten what came meanwhile
    assert done["found"] == done["repaired"] > 0
    assert (done["wrong_after"], done["wrong_at_the_end"]) == (0, 0)


def test_a_load_is_reported_beside_the_objective() -> None:
    """Exact, with its percentiles; whether a busy machine meets the objective is told, and no failure."""
    ended = run("drill", "load", "--entries", "150", "--rate", "100")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "exact: " in ended.stdout
    assert re.search(
        r"The objective is (met|NOT met) on this machine: p99 [\d,]+ ms, of 2,000 ms", ended.stdout
    )


def test_the_commands_for_a_real_project_are_commands() -> None:
    """Each flag is one that the installed gcloud has; nothing is started to print them."""
    printed = cloud_commands({"GOOGLE_CLOUD_PROJECT": "kitchen-1", "LIBRA_REGION": "europe-west6"})
    assert "PROJECT" not in printed.replace("GOOGLE_CLOUD_PROJECT", "")
    gcloud = shutil.which("gcloud")
    assert gcloud
    for line in re.findall(r"^gcloud .*$", printed.replace("\\\n ", ""), re.MULTILINE):
        words = line.split()[1:]
        command = [word for word in words if re.fullmatch(r"[a-z]+", word)]
        told = subprocess.run([gcloud, *command, "--help"], capture_output=True, text=True, check=True).stdout
        for flag in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert flag in told, line
    ended = run("drill", "restore", "--cloud", GOOGLE_CLOUD_PROJECT="kitchen-1", LIBRA_REGION="europe-west6")
    assert (ended.returncode, ended.stdout) == (0, printed)
