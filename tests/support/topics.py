"""What is in Pub/Sub: a subscription of a test's own, beside the worker's."""

import base64
import json
from typing import Any

import httpx

from local.pubsub import PubSub


class Listener:
    """Keeps every message of a topic that is published after it was made."""

    def __init__(self, pubsub: PubSub, project: str, topic: str) -> None:
        self._path = f"{pubsub.url}/v1/projects/{project}/subscriptions/{topic}-test"
        body = {"topic": f"projects/{project}/topics/{topic}", "ackDeadlineSeconds": 600}
        httpx.put(self._path, json=body, timeout=30).raise_for_status()

    def take(self) -> list[dict[str, Any]]:
        """What came since the last call: each message with its event as `event`."""
        found: list[dict[str, Any]] = []
        while batch := self._pull():
            found += batch
        return found

    def _pull(self) -> list[dict[str, Any]]:
        body = {"maxMessages": 1_000, "returnImmediately": True}
        answer = httpx.post(f"{self._path}:pull", json=body, timeout=60).raise_for_status().json()
        received = answer.get("receivedMessages", [])
        if ids := [each["ackId"] for each in received]:
            httpx.post(f"{self._path}:acknowledge", json={"ackIds": ids}, timeout=60).raise_for_status()
        messages = [each["message"] for each in received]
        return [each | {"event": json.loads(base64.b64decode(each["data"]))} for each in messages]
