"""Hands a command to the gcloud of `gcloud_server.py`, and ends as the command ends.

It imports little: it is started for each command.
"""

import json
import os
import socket
import sys


def main(address: str, words: list[str]) -> int:
    """Run the words there, with the streams, the environment and the folder of this process."""
    request = {"words": words, "environment": dict(os.environ), "folder": os.getcwd()}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"!"], [0, 1, 2])
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        status = connection.recv(1)
    return status[0] if status else os.EX_SOFTWARE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
