"""Staging: `build/NAME` for each artefact, such as `build/functions`, which gcloud and Firebase both take.

`functions/` alone cannot be deployed, because it needs modules of `shared/` next to it: gcloud drops linked
folders, and Firebase runs no predeploy hook in the emulator. Staging copies the entry modules and what they
import, and nothing else. The same sources always give the same folder (names, bytes, modes, times). Staging
then imports every entry point in an interpreter that has only the deployed requirements. Over 300 lines
because the list of artefacts stands beside what makes them.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy import locked, monitored, sbom, swagger, warehouse
from deploy.closure import Closure, closure, finder
from deploy.parameters import PARAMETERS

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
STAGED = BUILD / "functions"
CONFIG = BUILD / "config"
VENV = BUILD / "venv"
PACKAGES = ("shared", "services", "pipelines")
"""The project's own packages that an artefact may carry; the others are tools."""
DATE = 946_684_800  # 2000-01-01: archives of the same sources are the same bytes
GCLOUDIGNORE = (
    "# `make emulate` links an interpreter here: never uploaded.\nvenv\n__pycache__/\n.gcloudignore\n"
)
EMULATOR_REGION = "us-central1"


@dataclass(frozen=True, slots=True)
class Artefact:
    """What is deployed as one: entry modules, what they import, their requirements and a few files."""

    name: str
    """The staged folder is `build/NAME`."""
    folder: str
    """The folder of the entry modules, relative to the root of the project."""
    entries: tuple[str, ...]
    """The entry modules, as they are imported from the staged folder."""
    requirements: str
    """The requirements file with hashes, relative to the root; staged as `requirements.txt`."""
    extra: tuple[str, ...] = ()
    """Other files in `folder` that the platform reads."""
    served: tuple[str, ...] = ()
    """What the platform calls in the first entry module, where no file of the platform names it."""
    started: tuple[str, ...] = ()
    """`PROCESS: COMMAND` of each process that its image starts, where the build takes them from files: a
    Procfile and a Python version. The first one is `web`, which an image starts unless it is told another."""
    variables: tuple[str, ...] = ()
    """`NAME=VALUE` of each variable that importing an entry module needs: what the checks set it to."""
    image: str = ""
    """The file that says how its image is built, relative to the root; staged as `Dockerfile`."""

    def closure(self) -> Closure:
        """The modules of ours that the entry modules import, and the packages that are not ours.

        Raises:
            ClosureError: a module cannot be followed.
        """
        return closure(self.entries, finder(ROOT / self.folder, ROOT, packages=PACKAGES))


DOCUMENTATION = tuple(f"shared/http/swagger/{name}" for name in swagger.FILES)
"""The files of the page /docs (`shared.http.documentation`)."""
FUNCTIONS = Artefact(
    "functions", "functions", ("main",), "functions/requirements.txt", extra=("functions.yaml",)
)
API = Artefact(
    "api",
    ".",
    ("services.api.main",),
    "services/api/requirements.txt",
    extra=DOCUMENTATION,
    served=("app",),
)
API_USAGE = Artefact(
    "api-usage",
    ".",
    ("services.api.main", "shared.usage"),
    "services/api/requirements-usage.txt",
    extra=DOCUMENTATION,
    served=("app",),
    variables=("LIBRA_POSTGRES_URL=postgresql://nobody@127.0.0.1/nothing",),
)
"""The API where it reads usage: with what it imports by name, and the driver of PostgreSQL."""
COLLECTOR = Artefact(
    "collector",
    ".",
    ("services.collector.main",),
    "services/collector/requirements.txt",
    served=("app",),
)
WORKER = Artefact(
    "worker",
    ".",
    ("services.worker.__main__",),
    "services/worker/requirements.txt",
    served=("main",),
    started=("web: python -m services.worker",),
)
EXPORT = Artefact(
    "export",
    ".",
    ("services.export.__main__",),
    "services/export/requirements.txt",
    served=("main",),
    started=("web: python -m services.export",),
)
USAGE = Artefact(
    "usage",
    ".",
    ("services.usage.__main__",),
    "services/usage/requirements.txt",
    served=("main",),
    started=("web: python -m services.usage",),
)
USAGE_HTTP = Artefact(
    "usage-http",
    ".",
    ("services.usage.main",),
    "services/usage/requirements-http.txt",
    served=("app",),
    variables=(
        "LIBRA_REDIS_URL=redis://127.0.0.1",
        "LIBRA_POSTGRES_URL=postgresql://nobody@127.0.0.1/nothing",
        "LIBRA_USAGE_AUDIENCE=https://nowhere.example",
        "LIBRA_USAGE_ACCOUNTS=nobody@nowhere.example",
    ),
)
INGESTION = Artefact(
    "ingestion",
    ".",
    ("services.ingestion.main", "services.ingestion.__main__"),
    "services/ingestion/requirements.txt",
    extra=DOCUMENTATION,
    served=("app",),
    started=(
        "web: python -m uvicorn services.ingestion.main:app --host 0.0.0.0 --port $PORT",
        "worker: python -m services.ingestion --scheduled",
    ),
    variables=("LIBRA_POSTGRES_URL=postgresql://nobody@127.0.0.1/nothing",),
)
PIPELINES = Artefact(
    "pipelines",
    ".",
    ("pipelines.__main__", "pipelines.count", "pipelines.events_to_bigquery", "pipelines.recompute"),
    "pipelines/requirements.txt",
    served=("main",),
    image="pipelines/Dockerfile",
)
WANTED_BY = {
    API: "LIBRA_API",
    COLLECTOR: "LIBRA_COLLECTOR",
    WORKER: "LIBRA_WORKER",
    USAGE: "LIBRA_USAGE",
    EXPORT: "LIBRA_EXPORT",
    INGESTION: "LIBRA_INGESTION",
    PIPELINES: "LIBRA_PIPELINES",
}
"""The parameter that says whether an artefact is wanted."""
ARTEFACTS = (FUNCTIONS, API, API_USAGE, COLLECTOR, WORKER, EXPORT, USAGE, USAGE_HTTP, INGESTION, PIPELINES)
"""Every artefact. To add a service, add its line here and its files to tests/deploy/artefacts/NAME.txt."""

IMPORT = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
entries = json.loads(sys.argv[2])
main, *_ = [importlib.import_module(entry) for entry in entries]
missing = [name for name in json.loads(sys.argv[3]) if not callable(getattr(main, name, None))]
sys.exit(f"{entries[0].replace('.', '/')}.py has no entry point {', '.join(missing)}" if missing else 0)
"""


class StageError(Exception):
    """What is to be deployed would not start."""


def sources(artefact: Artefact = FUNCTIONS) -> Iterator[tuple[str, bytes]]:
    """Every file that is deployed: its path in the staged folder and its bytes, in order.

    Raises:
        ClosureError: a module cannot be followed.
    """
    folder = ROOT / artefact.folder
    staged = {"requirements.txt": ROOT / artefact.requirements}
    staged |= {name: folder / name for name in artefact.extra}
    if artefact.image:
        staged["Dockerfile"] = ROOT / artefact.image
    for file in artefact.closure().modules.values():
        staged[file.relative_to(folder if file.is_relative_to(folder) else ROOT).as_posix()] = file
    contents = {name: file.read_bytes() for name, file in staged.items()}
    if artefact.started:
        contents |= {
            "Procfile": "".join(f"{it}\n" for it in artefact.started).encode(),
            ".python-version": b"3.11\n",
        }
    yield from sorted((contents | {".gcloudignore": GCLOUDIGNORE.encode()}).items())


def fingerprint(artefact: Artefact = FUNCTIONS) -> str:
    """A digest of everything that is deployed; the same sources give the same on every machine."""
    digest = hashlib.sha256()
    for path, content in sources(artefact):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def stage(artefact: Artefact = FUNCTIONS, into: Path = BUILD) -> None:
    """Write the artefact's folder anew."""
    folder = into / artefact.name
    with _alone(folder):
        shutil.rmtree(folder, ignore_errors=True)
        for path, content in sources(artefact):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o644)
        for staged in [*folder.rglob("*"), folder]:
            os.utime(staged, (DATE, DATE))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """With nobody else at the folder: two processes may stage, and the second waits."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def configure(values: Mapping[str, str], into: Path | None = None) -> None:
    """Write the parameters as Firebase reads them, beside the folder and never in it.

    `.env` holds what was decided. `.env.local` is for the emulator alone, which needs a region too.
    """
    into = into or CONFIG
    into.mkdir(parents=True, exist_ok=True)
    firebase = _declared(r"^  - { name: (\w+),")
    decided = [
        f"{it.variable}={json.dumps(it.for_firebase(values[it.variable]))}"
        for it in PARAMETERS
        if it.variable in firebase and values[it.variable]
    ]
    local = [f'{name}="{EMULATOR_REGION}"' for name in ("LIBRA_REGION", "LIBRA_LOCATION") if not values[name]]
    (into / ".env").write_text("\n".join(decided) + "\n", encoding="utf-8")
    (into / ".env.local").write_text("\n".join(local) + "\n", encoding="utf-8")


def make_venv(artefact: Artefact = FUNCTIONS) -> Path:
    """An interpreter with nothing but the deployed requirements; kept until they change.

    Two processes that want the same one make it once: the second waits.

    Raises:
        StageError: the requirements cannot be installed.
    """
    requirements = ROOT / artefact.requirements
    folder = VENV if artefact == FUNCTIONS else VENV.with_name(f"venv-{artefact.name}")
    wanted = hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()
    stamp, python = folder / ".requirements", folder / "bin" / "python"
    with _alone(folder):
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            return python
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        quietly = ("--quiet", "--disable-pip-version-check", "--no-input")
        _run(str(python), "-m", "pip", "install", *quietly, "--require-hashes", "-r", str(requirements))
        stamp.write_text(wanted, encoding="utf-8")
    return python


def check(python: Path, artefact: Artefact = FUNCTIONS, into: Path = BUILD) -> None:
    """Import every entry point as the platform would: only the folder, only its requirements.

    Raises:
        StageError: one cannot be imported or is not there.
    """
    folder, names = into / artefact.name, list(artefact.served) or entry_points()
    told = (str(folder), json.dumps(artefact.entries), json.dumps(names))
    with _alone(folder):
        _run("env", *artefact.variables, str(python), "-I", "-B", "-c", IMPORT, *told)


def entry_points() -> list[str]:
    """The functions that `functions.yaml` names."""
    return _declared(r"^    entryPoint: (\w+)$")


def _declared(pattern: str) -> list[str]:
    """A pattern does where only the standard library is: the file is ours, and a test reads it as YAML."""
    return re.findall(
        pattern, (ROOT / "functions" / "functions.yaml").read_text(encoding="utf-8"), re.MULTILINE
    )


def _run(*command: str) -> None:
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    pip = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))
    }
    done = subprocess.run(command, env=clean | pip, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise StageError(f"{' '.join(command[:4])} ... failed:\n{done.stderr.strip() or done.stdout.strip()}")


def api(values: Mapping[str, str]) -> Artefact:
    """The API as it is wanted: with what reads usage, or without."""
    return API_USAGE if values["LIBRA_API_USAGE_SECRET"] else API


def build(values: Mapping[str, str]) -> str:
    """Stage what is wanted, write the parameters for Firebase, and import every entry point.

    Args:
        values: every parameter's value.

    Returns:
        What was built, in a line or two.

    Raises:
        StageError: what is staged would not start.
        ClosureError: a module cannot be followed.
    """
    configure(values)
    if values["GOOGLE_CLOUD_PROJECT"] and values["LIBRA_MONITORING"] == "on":
        monitored.render(values, ROOT)
    if values["GOOGLE_CLOUD_PROJECT"] and values["LIBRA_WAREHOUSE"] == "on":
        warehouse.render(values, ROOT)
    services = [each for each, variable in WANTED_BY.items() if values[variable] != "off"]
    done = [_built(api(values) if each == API else each) for each in (FUNCTIONS, *services)]
    notes = [
        f"note: `firebase deploy` does not read {it.flag}: {it.not_by_firebase}"
        for it in PARAMETERS
        if it.not_by_firebase and values[it.variable] not in {it.default, values["LIBRA_REGION"]}
    ]
    return "\n".join((*done, *notes))


def _built(artefact: Artefact) -> str:
    stage(artefact)
    check(make_venv(artefact), artefact)
    listed = list(sources(artefact))
    packages = locked.python(ROOT / artefact.requirements)
    found = sbom.bill(artefact.name, fingerprint(artefact), listed, packages)
    sbom.write(ROOT / "build" / f"{artefact.name}.cdx.json", found)
    size = sum(len(content) for _, content in listed)
    return f"staged build/{artefact.name}: {size / 1024:.0f} KiB, every entry point imports"
