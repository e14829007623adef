"""gcloud for tests of one step: in place of it, and the real one asked which flags it does not know."""

import subprocess
from collections.abc import Sequence

from deploy.gcloud import Gcloud


class Answering(Gcloud):
    """A gcloud that finds what it is told; a read is known by the words that it begins with."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__(planning=False)
        self.answers = answers

    def look(self, *words: str, program: tuple[str, ...] = ("gcloud",)) -> str:
        """What is there."""
        assert program == ("gcloud",)
        return next((it for begin, it in self.answers.items() if " ".join(words).startswith(begin)), "")


def flags(words: Sequence[str]) -> dict[str, str]:
    """The flags of a command."""
    return dict(it[2:].partition("=")[::2] for it in words if it.startswith("--"))


def unknown(gcloud: str, words: Sequence[str]) -> list[str]:
    """The flags of a command that gcloud does not know. It says them first, so nothing is asked of Google."""
    asked = [gcloud, *words, "--no-such-flag"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stderr
    listed = said.partition("unrecognized arguments:")[2].partition("\n\n")[0].split()
    found = [word for word in listed if word.startswith("--")]
    assert "--no-such-flag" in found, said
    return [word for word in found if word != "--no-such-flag"]
