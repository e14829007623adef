"""`libra` where the packages of a service are not installed, as after `make demo`."""

import subprocess
import sys

import pytest

from deploy.stage import ROOT

WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("psycopg", "redis", "pyarrow", "asyncssh")))
from cli.main import main
main(prog_name="libra")
"""


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--help"], 0, "(libra usage needs the package psycopg: make .venv/.all installs it)"),
        (["usage", "flush", "--json"], 1, "libra: libra usage needs the package psycopg: make .venv/.all"),
        (["demo", "usage"], 1, "libra: libra demo usage needs the package psycopg: make .venv/.all"),
        (["demo", "--help"], 0, "restaurant chain"),
    ],
)
def test_a_package_that_is_missing_is_named(words: list[str], status: int, said: str) -> None:
    """The help and every other command work; this one says what installs it."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert said in " ".join((done.stdout + done.stderr).split())
