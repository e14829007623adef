"""The real gcloud, imported once: each command runs in a fork of a process that has it in memory.

Importing them is nine tenths of what a command costs, and the tests of deployments run hundreds of commands.
A fork has the caller's words, environment, folder and standard streams, and calls the `main` of gcloud's own
`gcloud.py`. What a fork imported in addition, the server imports for the forks after it.

gcloud reads `CLOUDSDK_CONFIG` while it is imported: all commands of a server share the server's own.
gcloud's wrapper starts this file with gcloud's own Python: it imports nothing of this repository.
"""

import atexit
import gc
import importlib
import json
import os
import select
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

STREAMS = 3


def serve(entry: Path, address: str) -> NoReturn:
    """Run the commands that arrive at a socket, one after another, until standard input ends."""
    sys.path.insert(0, str(entry.parent))
    gcloud = importlib.import_module("gcloud")
    importlib.import_module("googlecloudsdk.gcloud_main")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            if not run(entry, listening):
                gcloud.main()
                break
    raise SystemExit


def run(entry: Path, listening: socket.socket) -> bool:
    """Take a command; False in the fork that is to run it, True in the server once it has ended."""
    connection = listening.accept()[0]
    with connection:
        _, streams, _, _ = socket.recv_fds(connection, 1, STREAMS)
        request = json.loads(b"".join(iter(lambda: connection.recv(65_536), b"")))
        read, write = os.pipe()
        gc.freeze()  # a fork that collects would copy all of the server's pages
        child = os.fork()
        if not child:
            become(entry, request, streams, write)
            return False
        os.close(write)
        for stream in streams:
            os.close(stream)
        with os.fdopen(read) as learned:
            for name in learned.read().split():
                with suppress(ImportError):  # gcloud loads its commands under names that cannot be imported
                    importlib.import_module(name)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with suppress(BrokenPipeError):  # nobody waits any more
            connection.sendall(bytes([code if code >= 0 else 128 - code]))
    return True


def become(entry: Path, request: dict[str, Any], streams: list[int], learned: int) -> None:
    """Take what the caller has, and its words; at the end, tell the server what was imported."""
    before = set(sys.modules)
    atexit.register(
        lambda: os.write(learned, "\n".join(it for it in sys.modules if it not in before).encode())
    )
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    config = os.environ["CLOUDSDK_CONFIG"]
    os.environ.clear()
    os.environ.update({**request["environment"], "CLOUDSDK_CONFIG": config})
    os.chdir(request["folder"])
    sys.argv = [str(entry), *request["words"]]


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
