"""The worker of the published recipes: for each message one write and one increment, then it acknowledges.

`python -m tests.bench.baselines.recipe` pulls as the client library's samples do: with a callback, in its ten
threads. It keeps one total, where Libra keeps four, and counts a message twice that comes twice.
"""

import json
import os

from google.api_core.exceptions import GoogleAPICallError
from google.cloud import firestore
from google.cloud.pubsub_v1 import SubscriberClient
from google.cloud.pubsub_v1.subscriber.message import Message

from shared.topics import Topics


def main() -> None:
    """Pull until it is ended."""
    client, subscriber = firestore.Client(), SubscriberClient()
    entries, totals = client.collection("user_events"), client.collection("analytics_aggregates")

    def count(message: Message) -> None:
        event = json.loads(message.data)
        try:
            entries.document(event["event_id"]).set(event)
            totals.document(event["event_type"]).set({"count": firestore.Increment(1)}, merge=True)
        except GoogleAPICallError:
            message.nack()
        else:
            message.ack()

    path = subscriber.subscription_path(
        os.environ["GOOGLE_CLOUD_PROJECT"], Topics("user_events").subscription
    )
    pulled = subscriber.subscribe(path, callback=count)
    print("pulling", flush=True)
    pulled.result()


if __name__ == "__main__":
    main()
