"""Which processes a stack has left behind: each has its project in its environment."""

import os
from pathlib import Path

from local.process import wait_until

# gunicorn names its processes where setproctitle is installed (a tool of the tests brings it), and the name
# overwrites the environment that is read below, unless setproctitle is told to leave that alone.
os.environ["SPT_NOENV"] = "1"


def of_project(project: str) -> set[int]:
    """The ids of the running processes, but this one, that work for a project. Linux only."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:  # it ended meanwhile, or is not ours
            continue
        if f"GOOGLE_CLOUD_PROJECT={project}".encode() in environment and not zombie:
            found.add(int(folder.name))
    return found - {os.getpid()}


def wait_until_gone(project: str) -> None:
    """Wait until a project has no process left."""
    wait_until(lambda: not of_project(project), seconds=60, what=f"the processes of {project} gone")
