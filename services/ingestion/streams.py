"""The streams of a read session of BigQuery's Storage API, each read by a thread of its own."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeAlias

import pyarrow as pa
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types
from google.cloud.bigquery_storage_v1.reader import ReadRowsStream

from services.ingestion.errors import Unavailable

_Found: TypeAlias = "pa.RecordBatch | BaseException | None"


class Streams:
    """The streams of a session, each read by a thread of its own; what they read waits in a short queue."""

    def __init__(self, reads: BigQueryReadClient, session: types.ReadSession) -> None:
        self._reads = reads
        self._session = session
        self._found: queue.Queue[_Found] = queue.Queue(maxsize=4)
        self._closed = threading.Event()
        self._streams: list[ReadRowsStream] = []

    def records(self, stall: float) -> Iterator[pa.RecordBatch]:
        """What the streams hold, to the end of each. Raises what a stream raises."""
        for each in self._session.streams:
            threading.Thread(target=self._read, args=(each.name,), daemon=True).start()
        running = len(self._session.streams)
        while running:
            try:
                found = self._found.get(timeout=stall)
            except queue.Empty:
                raise Unavailable(
                    "slow",
                    f"{self._session.table}: BigQuery sent nothing for {stall:g} seconds: start again later",
                ) from None
            if isinstance(found, BaseException):
                raise found
            if found is None:
                running -= 1
            else:
                yield found

    def close(self) -> None:
        """Let the threads end: nobody takes what they read."""
        self._closed.set()
        for stream in self._streams:
            stream.cancel()  # type: ignore[no-untyped-call]  # as it comes

    def _read(self, name: str) -> None:
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(self._session.arrow_schema.serialized_schema))
            stream = self._reads.read_rows(name)  # type: ignore[no-untyped-call]  # as it comes
            self._streams.append(stream)
            if self._closed.is_set():  # before it was there to be cancelled
                stream.cancel()
            for message in stream:
                data = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
                self._put(pa.ipc.read_record_batch(data, schema))
            self._put(None)
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits for it
            self._put(error)

    def _put(self, found: _Found) -> None:
        while not self._closed.is_set():
            try:
                self._found.put(found, timeout=0.5)
            except queue.Full:
                continue
            return
