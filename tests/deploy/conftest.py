"""`deploy.sh` with the real gcloud, whose every endpoint is a recorder on loopback."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy import stage
from tests.deploy.google_apis import GoogleApis

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WHERE = ("--project=kitchen-1", "--region=europe-west6", "--time-zone=Europe/Zurich")

Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def plain_gcloud() -> str:
    """The real gcloud."""
    found = shutil.which("gcloud")
    assert found, "these tests drive the real gcloud: https://cloud.google.com/sdk/docs/install"
    return found


@pytest.fixture(scope="session")
def gcloud(plain_gcloud: str) -> Iterator[str]:
    """The real gcloud, in a process that has imported it already: a command takes a tenth of the CPU."""
    with tempfile.TemporaryDirectory(prefix="gcloud") as folder:  # a socket's path has at most 107 bytes
        command, address = Path(folder, "gcloud"), Path(folder, "socket")
        words = shlex.join((sys.executable, "-IS", str(HERE / "gcloud_client.py"), str(address)))
        command.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        server = subprocess.Popen(
            [plain_gcloud, address],
            cwd=HERE,
            env={
                "PATH": os.environ["PATH"],
                "HOME": folder,
                "CLOUDSDK_CONFIG": str(Path(folder, "config")),
                "CLOUDSDK_PYTHON_ARGS": "-S gcloud_server.py",  # in front of gcloud's own program
            },
            stdin=subprocess.PIPE,  # the server ends with it, also when this process is killed
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with server:
            try:
                assert server.stdout
                assert server.stdout.readline() == b"ready\n"
                yield str(command)
            finally:
                os.killpg(server.pid, signal.SIGKILL)  # with a command that hangs


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as they are now, apart: what is edited meanwhile, or staged, is not in the way."""
    copied = tmp_path_factory.mktemp("tree")
    for name in ("board", "deploy", "functions", "pipelines", "services", "shared"):
        shutil.copytree(ROOT / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("deploy.sh", "firestore.rules", "firestore.indexes.json"):
        shutil.copy2(ROOT / name, copied)
    for name in ("firebase.json", "package.json", "package-lock.json"):
        shutil.copy2(ROOT / name, copied)
    (copied / "build").mkdir()
    for artefact in (stage.FUNCTIONS, *stage.WANTED_BY):
        venv = stage.make_venv(artefact).parent.parent
        (copied / "build" / venv.name).symlink_to(venv, target_is_directory=True)
    return copied


@pytest.fixture(scope="module")
def apis() -> Iterator[GoogleApis]:
    """Google's APIs with an empty project, shared by a module."""
    with GoogleApis().serving() as started:
        yield started


@pytest.fixture(scope="module")
def deploy(apis: GoogleApis, gcloud: str, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """Runs `deploy.sh` against the module's APIs, in an environment that names no other."""
    return deployer(apis, gcloud, tree, tmp_path_factory.mktemp("gcloud"))


def deployer(apis: GoogleApis, gcloud: str, tree: Path, folder: Path) -> Deploy:
    """What runs the tree's `deploy.sh` against these APIs, with the doubles in the folder's `bin`."""
    environment = deployers_environment(apis, gcloud, folder)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [tree / "deploy.sh", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=570,
            check=False,
        )

    return run


def deployers_environment(apis: GoogleApis, gcloud: str, folder: Path) -> dict[str, str]:
    """What a deployment against these APIs is started with."""
    token = folder / "token"
    token.write_text("a-token-of-nobody", encoding="utf-8")
    return {
        "PATH": os.pathsep.join((str(folder / "bin"), str(Path(gcloud).parent), os.environ["PATH"])),
        "HOME": str(folder),
        "PYTHON": sys.executable,
        "CLOUDSDK_CONFIG": str(folder / "config"),
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "LIBRA_SECONDS_BETWEEN": "0",
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))},
        **apis.environment(),
    }
