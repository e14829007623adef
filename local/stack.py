"""The local stack: the real emulator, the real function under functions-framework, the relay between.

What is deployed is what runs: `functions/main.py` as it is, served as the platform serves it.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import httpx

from deploy.parameters import default
from local.emulator import QUICK, Emulator
from local.errors import StackError
from local.faults import Faults
from local.process import Child, free_port, wait_until
from local.relay import PROBE
from local.served import START_SECONDS, Served, answers
from shared.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TRIGGER = "libra-"
CHANGES = ("updated", "deleted")
"""What happens to an entry after its creation; each has a trigger of its own."""
PROBE_SECONDS = 10
RECOMPUTE_SECONDS = 600
QUIET_SECONDS = 0.3
DRAIN_SECONDS = 10


class LocalStack:
    """Everything Libra needs, on this machine. A context manager: up inside, gone after.

    Start it from the main thread (see `local.process.Child`). Over 200 lines because a third of
    them say what its arguments and calls mean; the parts that it starts are classes of their own.

    Attributes:
        project: the project its documents live in.
        emulator: the Firestore emulator.
        function: the function of the trigger for creations.
        changes: those for edits and deletions, by what happens; none without `edits`.
        recompute: the recompute's function.
        api: the API.
        environment: what each of its processes is given.
        relay: the address of the relay, `host:port`.
        folder: where the logs are; it goes with the stack, unless it was given or a start failed.
        say: called with what takes a while.
    """

    def __init__(
        self,
        *,
        project: str = "demo-libra",
        settings: Mapping[str, str] | None = None,
        faults: Faults | None = None,
        concurrency: int = int(default("THREADS")),
        relay_port: int | None = None,
        emulator_port: int | None = None,
        rules: Path | None = None,
        java: Sequence[str] = QUICK,
        recompute: bool = False,
        api: bool = False,
        edits: bool = False,
        folder: Path | None = None,
        environment: Mapping[str, str] = os.environ,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Nothing is started yet.

        Args:
            project: the project; a `demo-` name never reaches a real one.
            settings: the function's `LIBRA_*` variables, on top of the environment's.
            faults: what the relay does wrong from the start.
            concurrency: events in the function at once, and its threads, as when deployed.
            relay_port: where the emulator is to send events; a free port by default.
            emulator_port: the emulator's port; a free one by default.
            rules: the security rules the emulator applies.
            java: options for the emulator's Java.
            recompute: whether the recompute is served from the start; `recompute.start()` does it later.
            api: whether the API is, likewise.
            edits: whether edits and deletions have their triggers too, as when deployed.
            folder: where logs go; a temporary one by default.
            environment: the variables the processes are given.
            say: called with what takes a while.

        Raises:
            SettingError: a setting cannot be used.
        """
        self.project = project
        self.relay = f"127.0.0.1:{relay_port or free_port()}"
        self.folder = folder or Path(tempfile.mkdtemp(prefix="libra-"))
        self._own_folder = folder is None
        self._faults = faults or Faults()
        self._concurrency = concurrency
        self.say = say
        self.environment = dict(environment) | dict(settings or {}) | {"GOOGLE_CLOUD_PROJECT": project}
        Settings.from_environment(self.environment)  # before anything is looked for, or downloaded
        self._stop = ExitStack()
        self._relay: Child | None = None
        self.emulator = self._find_emulator(emulator_port, rules, java)
        self.environment |= {
            "FIRESTORE_EMULATOR_HOST": self.emulator.address,
            "THREADS": str(concurrency),
            "PYTHONPATH": str(ROOT),
        }
        self.settings = Settings.from_environment(self.environment)
        self.function = self._trigger("created", self._log("function"))
        self.changes = {happens: self._trigger(happens, self._log(happens)) for happens in CHANGES if edits}
        self.recompute = Served.function("recompute", "http", self._log("recompute"), self.environment)
        self.api = Served.api(self.recompute.address, self._log("api"), self.environment)
        self._from_the_start = [it for it, wanted in ((self.recompute, recompute), (self.api, api)) if wanted]

    def _trigger(self, happens: str, log: Path) -> Served:
        return Served.function(f"on_libra_{happens}", "cloudevent", log, self.environment)

    def _find_emulator(self, port: int | None, rules: Path | None, java: Sequence[str]) -> Emulator:
        if address := self.environment.get("FIRESTORE_EMULATOR_HOST"):
            return Emulator.attach(address)
        log = self._log("emulator")
        return Emulator.prepare(
            self.environment, log, port=port, functions=self.relay, rules=rules, java=java, say=self.say
        )

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.txt"

    def __enter__(self) -> Self:
        """Start everything and wait until it is healthy.

        Raises:
            StackError: something did not start. What had started is stopped; its logs are kept.
        """
        with ExitStack() as started:
            started.callback(self.emulator.stop)
            for trigger in self._triggers:
                trigger.launch()
                started.callback(trigger.stop)
            started.callback(self.recompute.stop)
            started.callback(self.api.stop)
            for served in self._from_the_start:
                served.launch()
            relay = self._relay = self._launch_relay()
            started.callback(relay.stop, seconds=DRAIN_SECONDS + 5)
            self.emulator.start()
            for trigger in self._triggers:
                trigger.wait_healthy()
            for served in self._from_the_start:
                served.wait_healthy()
            relay.wait_healthy(lambda: answers(f"http://{self.relay}/relay"), seconds=START_SECONDS)
            self._register()
            self._stop = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop in order: the relay delivers what it holds, then the function ends, then the emulator."""
        self._stop.close()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def ended(self) -> str | None:
        """What to say if one of the processes ended by itself, None while all run."""
        served = [*self._triggers, self.recompute, self.api]
        said = [each.ended for each in served] + [self._relay.ended if self._relay else None]
        return next(filter(None, [*said, self.emulator.ended]), None)

    @property
    def _triggers(self) -> list[Served]:
        return [self.function, *self.changes.values()]

    def _launch_relay(self) -> Child:
        port = self.relay.rpartition(":")[2]
        command = [sys.executable, "-m", "local.relay", "--port", port, "--target", self.function.address]
        for happens, changed in self.changes.items():
            command += ["--target", f"{happens}={changed.address}"]
        command += ["--concurrency", str(self._concurrency), "--drain", str(DRAIN_SECONDS)]
        for name, value in asdict(self._faults).items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        return Child("the relay", command, self._log("relay"), self.environment)

    def _register(self) -> None:
        if not self.emulator.ours:
            self._probe()
        for happens in ("created", *self.changes):
            pattern, database = "libra/{entryId}", self.settings.database
            self.emulator.register_trigger(self.project, TRIGGER + happens, pattern, database, happens)

    def _probe(self) -> None:
        """An emulator that was found running may send its events elsewhere or nowhere, and says nothing."""
        before = self.relay_state()["probes"]
        self.emulator.register_trigger(self.project, PROBE, "libra_probe/{id}", self.settings.database)
        self.emulator.touch(self.project, "libra_probe/probe", self.settings.database)
        try:
            wait_until(lambda: self.relay_state()["probes"] > before, seconds=PROBE_SECONDS, what="an event")
        except StackError:
            raise StackError(
                f"the emulator at {self.emulator.address} sends no events to the relay at {self.relay}: "
                f"start it with --functions_emulator {self.relay} and name the same --relay-port here, "
                "or unset FIRESTORE_EMULATOR_HOST to have one started"
            ) from None

    def relay_state(self) -> dict[str, Any]:
        """The relay's counters; see `local.relay.Relay.state`."""
        state: dict[str, Any] = httpx.get(f"http://{self.relay}/relay", timeout=30).json()
        return state

    def run_recompute(self, **options: object) -> dict[str, Any]:
        """Have the totals recomputed, as Cloud Scheduler does, and return the report.

        Raises:
            StackError: it did not succeed; the message is its answer.
        """
        answer = httpx.post(f"http://{self.recompute.address}", json=options, timeout=RECOMPUTE_SECONDS)
        if answer.is_error:
            raise StackError(f"the recompute answered {answer.status_code}: {answer.text[:500]}")
        report: dict[str, Any] = answer.json()
        return report

    def set_faults(self, **faults: float) -> None:
        """Change what the relay does wrong, for events to come; see `local.faults.Faults`.

        Raises:
            ValueError: there is no such fault, or it cannot have this value.
        """
        answer = httpx.put(f"http://{self.relay}/relay/faults", json=faults, timeout=30)
        if answer.is_error:
            raise ValueError(answer.json()["error"])

    def figures(self) -> dict[str, int]:
        """What the triggers have done since they started, as their logs say at LIBRA_LOG_LEVEL=DEBUG."""
        together: Counter[str] = Counter()
        for trigger in self._triggers:
            last = None
            with trigger.log.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    last = line if '"commits":' in line else last
            together.update({name: n for name, n in json.loads(last or "{}").items() if isinstance(n, int)})
        return dict(together)

    def wait_until_quiet(
        self,
        received: int | None = None,
        *,
        seconds: float = 120,
        watch: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Wait until the relay has nothing left to deliver, and return its counters.

        Args:
            received: how many events it must have received at least, since it started. Without it, it is
                quiet when nothing has come for 0.3 seconds: less sure, as the emulator may be slow.
            seconds: how long to wait.
            watch: called with the counters while it waits.

        Raises:
            StackError: it was not quiet in time; the message has its counters.
        """
        since, seen = time.monotonic(), -1

        def quiet() -> bool:
            nonlocal since, seen
            state = self.relay_state()
            watch(state)
            if state["received"] != seen:
                since, seen = time.monotonic(), state["received"]
            enough = seen >= received if received is not None else time.monotonic() - since > QUIET_SECONDS
            return enough and state["in_flight"] == 0

        try:
            wait_until(quiet, seconds=seconds, what="the relay quiet")
        except StackError as error:
            raise StackError(f"{error}: {self.relay_state()}") from None
        return self.relay_state()

    def restart_emulator(self) -> None:
        """Stop the emulator and start it again on the same port: its data is gone, the trigger is back."""
        self.emulator.restart()
        self._register()

    def kill_function(self) -> None:
        """Kill the function; `start_function` starts it again on the same port."""
        self.function.kill()

    def start_function(self) -> None:
        """Start the function again.

        Raises:
            StackError: it did not start.
        """
        self.function.start()
