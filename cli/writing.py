"""Writing and amending entries in whatever Firestore the environment names: in batches, at a bounded rate."""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from google.auth.exceptions import GoogleAuthError

from cli.generator import Amendment
from local.errors import StackError
from shared.errors import AlreadyExists, Invalid, Transient
from shared.retry import Retry
from shared.settings import Settings
from shared.store import Create, Delete, FieldPath, Merge, Store, Write
from shared.store.client import FirestoreStore

BATCH = 200
COMMIT_SECONDS = 60.0
ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.1
RETRY = Retry(ATTEMPTS, FIRST_PAUSE_SECONDS)


@dataclass
class Tally:
    """What became of entries.

    Attributes:
        created: written.
        existing: left as they were, because a document of that id was there.
        refused: never to be taken by Firestore; its reason by the entry's name.
    """

    created: int = 0
    existing: int = 0
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """An entry to write.

    Attributes:
        name: what messages call it: its id, or its place in a file.
        id: the document's id.
        fields: the document.
    """

    name: str
    id: str
    fields: Mapping[str, object]


@contextmanager
def credentials_for(service: str, variable: str) -> Iterator[None]:
    """Say what to do where there are no credentials; ``variable`` names the emulator.

    Raises:
        StackError: there are none.
    """
    try:
        yield
    except GoogleAuthError as error:
        raise StackError(
            f"no credentials for {service}: {error}; for a real project, sign in with "
            "`gcloud auth application-default login`; for the emulator of `libra up`, "
            f"set {variable} and GOOGLE_CLOUD_PROJECT as it says"
        ) from error


@contextmanager
def connected() -> Iterator[tuple[FirestoreStore, Settings]]:
    """The Firestore that the environment names, to read from.

    Raises:
        SettingError: a variable cannot be used.
        StackError: there are no credentials for it.
    """
    settings = Settings.from_environment(os.environ)
    with credentials_for("Firestore", "FIRESTORE_EMULATOR_HOST"):
        store = FirestoreStore.connect(settings)
    try:
        yield store, settings
    finally:
        store.close()


@contextmanager
def named_store(real_project: str | None) -> Iterator[tuple[FirestoreStore, Settings]]:
    """The Firestore that the environment names, to write to.

    Args:
        real_project: the project that may be written to although it is a real one.

    Raises:
        SettingError: a variable cannot be used.
        StackError: it is a real project and not the one named, or an emulator although one is named; or there
            are no credentials for it.
    """
    with connected() as (store, settings):
        refuse_other(store.database.split("/")[1], real_project, "FIRESTORE_EMULATOR_HOST")
        yield store, settings


def refuse_other(project: str, named: str | None, variable: str) -> None:
    """Refuse to write to a real project that was not named, or to an emulator where one was.

    Args:
        project: where it would be written.
        named: what `--real-project` names.
        variable: the one that names an emulator, or would.

    Raises:
        StackError: they are not the same.
    """
    if emulator := os.environ.get(variable):
        if named is not None:
            raise StackError(
                f"--real-project {named}: this would write to the emulator at {emulator}, which {variable}"
                f" names: unset {variable} for the real project, or leave the flag out for the emulator"
            )
    elif named != project:
        raise StackError(
            f"this would write to the real project {project!r} ({variable} is not set): "
            f"if that is what you want, say so with --real-project {project}"
        )


def write(
    store: Store,
    collection: str,
    items: Iterator[Item],
    *,
    rate: float = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Write entries, create-only: a document that exists is left alone and tallied.

    Args:
        store: where to.
        collection: the source's entries.
        items: the entries; taken as they are needed.
        rate: entries a second at most; 0 for no bound.
        progress: called with the number of entries after each batch.

    Raises:
        StoreError: Firestore refused for good, or did not answer for half a minute.
    """
    tally = Tally()
    size = max(1, min(BATCH, int(rate / 5))) if rate else BATCH
    started, dealt = time.monotonic(), 0
    while batch := list(islice(items, size)):
        _write_batch(store, collection, batch, tally)
        dealt += len(batch)
        progress(len(batch))
        if rate:
            time.sleep(max(0.0, started + dealt / rate - time.monotonic()))
    return tally


def amend(
    store: Store,
    collection: str,
    amendments: Iterator[Amendment],
    *,
    rate: float = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Edit and delete entries; one that is not there any more is left out.

    Args:
        store: where they are.
        collection: the source's entries.
        amendments: what to do; taken as they are needed.
        rate: amendments a second at most; 0 for no bound.
        progress: called with the number of amendments after each batch.

    Returns:
        How many entries were edited or deleted.

    Raises:
        StoreError: Firestore refused for good, or did not answer for half a minute.
    """
    size = max(1, min(BATCH, int(rate / 5))) if rate else BATCH
    started, dealt, done = time.monotonic(), 0, 0
    while batch := list(islice(amendments, size)):
        done += RETRY.call(partial(_amend, store, collection, batch), time.sleep)
        dealt += len(batch)
        progress(len(batch))
        if rate:
            time.sleep(max(0.0, started + dealt / rate - time.monotonic()))
    return done


def _amend(store: Store, collection: str, batch: Sequence[Amendment]) -> int:
    """One commit, if every entry is still as it is read here: nothing is created anew by an edit."""
    writes: list[Write] = []
    found = store.get([f"{collection}/{each.id}" for each in batch])
    for each, document in zip(batch, found, strict=True):
        if document and each.fields is None:
            writes.append(Delete(document.path, if_updated=document.update_time))
        elif document:
            changed: dict[FieldPath, object] = {(name,): value for name, value in (each.fields or {}).items()}
            writes.append(Merge(document.path, changed, if_updated=document.update_time))
    if writes:
        store.commit(writes, timeout=COMMIT_SECONDS)
    return len(writes)


def _write_batch(store: Store, collection: str, batch: Sequence[Item], tally: Tally) -> None:
    """Halve what Firestore calls invalid, down to the one entry that is."""
    try:
        _create(store, collection, batch, tally)
    except Invalid as error:
        if len(batch) == 1:
            tally.refused[batch[0].name] = str(error)
            return
        middle = len(batch) // 2
        _write_batch(store, collection, batch[:middle], tally)
        _write_batch(store, collection, batch[middle:], tally)


def _create(store: Store, collection: str, batch: Sequence[Item], tally: Tally) -> None:
    """One commit for all; those that exist are found and left out, a lost answer is asked for again.

    An answer that was lost after the commit was applied makes its entries count as existing: they are
    there, once.
    """
    for attempt in range(ATTEMPTS):
        try:
            store.commit([Create(f"{collection}/{i.id}", i.fields) for i in batch], timeout=COMMIT_SECONDS)
        except AlreadyExists:
            found = store.get([f"{collection}/{item.id}" for item in batch])
            left = [item for item, document in zip(batch, found, strict=True) if document is None]
            tally.existing += len(batch) - len(left)
            batch = left
        except Transient:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1))
        else:
            tally.created += len(batch)
            return
        if not batch:
            return
