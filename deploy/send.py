"""`python -m deploy.send METHOD API PATH [FILE]`: one request, as `./deploy.sh plan` prints it.

gcloud 528 has commands for alert policies in alpha alone. The token is in `LIBRA_TOKEN`:
`export LIBRA_TOKEN="$(gcloud auth print-access-token)"`.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.gcloud import ABSENT, Change, CommandError
from deploy.google import ApiError, Json, call


def sending(
    environment: Mapping[str, str],
    method: str,
    api: str,
    path: str,
    file: str = "",
    *,
    body: Json | None = None,
) -> Change:
    """A change that one request makes.

    Args:
        environment: with the token.
        method: the HTTP method.
        api: such as monitoring.
        path: with the API's version, such as v3/projects/kitchen-prod/alertPolicies.
        file: what is sent, relative to the root of the project, as the printed command names it.
        body: what is sent.
    """
    words = (sys.executable, "-m", "deploy.send", method, api, path, *([file] if file else []))

    def send() -> str:
        try:
            return str(call(environment, method, api, path, body).get("name", "done"))
        except ApiError as error:
            raise CommandError(words, str(error)) from error

    return Change(words, patient=True, call=send)


def described(environment: Mapping[str, str], api: str, path: str) -> Json:
    """A resource; empty: it is not there.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        return call(environment, "GET", api, path)
    except ApiError as error:
        if error.code == 404:
            return {}
        raise CommandError((sys.executable, "-m", "deploy.send", "GET", api, path), str(error)) from error


def listed(environment: Mapping[str, str], api: str, path: str, kind: str) -> list[Json]:
    """All resources of a collection; none where the service is off.

    Raises:
        CommandError: they cannot be read.
    """
    found: list[Json] = []
    token = ""
    while True:
        page = f"{path}?pageSize=500" + (f"&pageToken={token}" if token else "")
        try:
            answer = call(environment, "GET", api, page)
        except ApiError as error:
            if ABSENT.search(str(error)):
                return found
            raise CommandError((sys.executable, "-m", "deploy.send", "GET", api, path), str(error)) from error
        found += answer.get(kind, [])
        token = answer.get("nextPageToken", "")
        if not token:
            return found


def main() -> None:
    """Send, and print what was answered."""
    parser = argparse.ArgumentParser(
        prog="deploy.send", description='LIBRA_TOKEN="$(gcloud auth print-access-token)" has to be set.'
    )
    for name in ("method", "api", "path"):
        parser.add_argument(name)
    parser.add_argument("file", nargs="?", type=Path)
    chosen = parser.parse_args()
    if "LIBRA_TOKEN" not in os.environ:
        parser.error(parser.description or "")
    body = json.loads(chosen.file.read_text(encoding="utf-8")) if chosen.file else None
    try:
        answer = call(os.environ, chosen.method, chosen.api, chosen.path, body)
    except ApiError as error:
        sys.exit(str(error))
    print(json.dumps(answer, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
