"""gcloud: reads, changes, and changes that rest on one which Google takes a while to know.

While planning, nothing is run: a read finds nothing, as in an empty project, and a change is not made.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

ABSENT = re.compile(
    r"NOT_FOUND|status=\[404\]|not found|could not be found|cannot find|SERVICE_DISABLED|has not been used",
    re.IGNORECASE,
)
"""What gcloud says of a thing that is not there, or whose service is off."""
UNSETTLED = re.compile(
    r"service agent|does not exist|not been granted|few minutes|could take up to|try again later|in progress|"
    r"ABORTED",
    re.IGNORECASE,
)
"""What gcloud says while an account, a grant or a metric is new, or while an operation is under way."""


class DeployError(Exception):
    """The deployment cannot go on; the message says why and what to do."""


class CommandError(Exception):
    """A command failed; the message is what it printed."""

    def __init__(self, words: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.words = words


@dataclass(frozen=True, slots=True)
class Change:
    """One command that changes something."""

    words: tuple[str, ...]
    """The command, as it can be typed."""
    patient: bool = False
    """Whether it rests on a change before it, which Google may not know everywhere yet."""
    title: str = ""
    """What it is for, where the step's own title does not say it."""
    call: Callable[[], str] | None = None
    """Does the same without a process, and says what was done; None: the words are run."""

    def __str__(self) -> str:
        """As it can be pasted into a shell."""
        return shlex.join(self.words)


def gcloud(*words: str, patient: bool = False, title: str = "") -> Change:
    """A change that gcloud makes."""
    return Change(("gcloud", *words), patient, title)


def say(text: str) -> None:
    """Tell the operator."""
    sys.stderr.write(f"{text}\n")


class Gcloud:
    """Runs commands for one deployment.

    Args:
        planning: run nothing.
        tries: how often a patient change is tried, at most.
        pause: seconds between two tries.
    """

    def __init__(self, *, planning: bool, tries: int = 10, pause: float = 30) -> None:
        self.planning = planning
        self._tries = tries
        self._pause = pause

    def look(self, *words: str, program: tuple[str, ...] = ("gcloud",)) -> str:
        """What a read prints; nothing for what is not there.

        Raises:
            CommandError: it failed for another reason.
        """
        if self.planning:
            return ""
        try:
            return self._run((*program, *words))
        except CommandError as failure:
            if ABSENT.search(str(failure)):
                return ""
            raise

    def make(self, change: Change) -> None:
        """Make a change.

        Raises:
            CommandError: it failed, and, if it is a patient one, for a reason that time does not mend.
        """
        for attempt in range(1, self._tries + 1):
            say(f"   {change}")
            try:
                if change.call:
                    say(f"   {change.call()}")
                else:
                    self._run(change.words)
            except CommandError as failure:
                last = attempt == self._tries
                if last or not change.patient or not UNSETTLED.search(str(failure)):
                    raise
                tries = f"({attempt} of {self._tries})"
                say(f"   not known everywhere yet; retrying in {self._pause:g} s {tries}")
                time.sleep(self._pause)
            else:
                return

    @staticmethod
    def _run(words: tuple[str, ...]) -> str:
        environment = os.environ | {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        try:
            done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
        except FileNotFoundError:
            raise DeployError(
                f"{words[0]} is not installed: https://cloud.google.com/sdk/docs/install"
            ) from None
        if done.returncode:
            said = (done.stdout.strip(), done.stderr.strip())  # the Firebase CLI puts its errors on the first
            raise CommandError(words, "\n".join(filter(None, said)))
        return done.stdout.strip("\n")
