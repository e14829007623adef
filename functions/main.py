"""The entry points, and nothing else: decode, call, answer."""

import os

import functions_framework
from cloudevents.http import CloudEvent
from werkzeug.exceptions import ServiceUnavailable

from events import decode_entry
from shared.errors import MalformedEventError, Overloaded
from shared.log import logger, traced
from shared.runtime import Process
from shared.settings import Settings

process = Process(Settings.from_environment(os.environ))


@functions_framework.cloud_event
def on_libra_created(event: CloudEvent) -> None:
    """Count a created entry. Returning acknowledges the event; raising has the platform redeliver it."""
    runtime = process.runtime()
    with traced(runtime.settings.project, event.get("traceparent")):
        try:
            runtime.ledger.apply(decode_entry(event, runtime.source))
        except MalformedEventError as error:
            logger.error("A malformed event is set aside", extra={"event": event["id"], "reason": str(error)})
            runtime.ledger.refuse(event["id"], str(error))
        except Overloaded as error:
            raise ServiceUnavailable(str(error)) from error
