"""A step of a deployment in this process: gcloud's reads answered, its changes taken as words."""

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from deploy.gcloud import Gcloud


class Answering(Gcloud):
    """A gcloud that finds what it is told; a read is known by the words that it begins with."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__(planning=False)
        self.answers = answers
        self.asked: list[list[str]] = []

    def look(self, *words: str, program: tuple[str, ...] = ("gcloud",)) -> str:
        """What is there."""
        assert program == ("gcloud",)
        self.asked.append(list(words))
        return next((it for begin, it in self.answers.items() if " ".join(words).startswith(begin)), "")


def flags(words: Iterable[str]) -> dict[str, str]:
    """The flags of a command."""
    return dict(it[2:].partition("=")[::2] for it in words if it.startswith("--"))


def assert_known(gcloud: str, commands: list[list[str]]) -> None:
    """Each flag is one that the real gcloud has: what it does not know it says before it asks anything."""

    def unknown(words: list[str]) -> list[str]:
        asked = [gcloud, *words, "--no-such-flag"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stderr
        return said.partition("unrecognized arguments:")[2].partition("\n\n")[0].split()

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(unknown, commands):
            assert [word for word in found if word.startswith("--")] == ["--no-such-flag"]
