"""Files wherever Beam can write: a folder on this machine, or Cloud Storage. Whole or absent."""

import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from apache_beam.io.filesystems import FileSystems


@contextmanager
def scratch(parent: str | None) -> Iterator[str]:
    """A folder of one run's own, below ``parent`` or on this machine; removed in the end."""
    folder = FileSystems.join(parent or tempfile.gettempdir(), f"libra-{uuid.uuid4().hex}")
    if "://" not in folder:
        os.makedirs(folder)
    try:
        yield folder
    finally:
        with suppress(OSError):  # what is left behind is small, and read by nobody
            FileSystems.delete([folder if "://" not in folder else f"{folder}/"])


def gathered(pattern: str) -> Iterator[Iterator[str]]:
    """The lines of each file that matches, in the order of the names."""
    (found,) = FileSystems.match([pattern])
    for name in sorted(each.path for each in found.metadata_list):
        with FileSystems.open(name) as lines:
            yield (line.decode() for line in lines)


def write_whole(name: str, lines: Iterable[str]) -> None:
    """Write a file under another name, and give it its own when it is whole."""
    beside = f"{name}.{uuid.uuid4().hex}"
    try:
        with FileSystems.create(beside, mime_type="application/json") as file:
            for line in lines:
                file.write(f"{line}\n".encode())
        with suppress(OSError):
            FileSystems.delete([name])
        FileSystems.rename([beside], [name])
    except BaseException:
        with suppress(OSError):
            FileSystems.delete([beside])
        raise
