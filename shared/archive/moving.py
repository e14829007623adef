"""How one page leaves Firestore: its file first, then one commit that does all the rest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from shared.aggregation import Home, Source
from shared.archive.destinations import Destination
from shared.archive.files import packed, unpacked
from shared.archive.pages import Item, Page
from shared.errors import Invalid
from shared.recompute.comparison import page_of, sums_of
from shared.recompute.fence import Fence, Run
from shared.recompute.lease import fields_of
from shared.store import Document, Store, Write


class Mover:
    """Moves one page after the other, under the lease of one run.

    An attempt to commit a page prepares what it writes: the first from the entries as they were read, a later
    one from those that have not changed since. If that makes a difference, it writes a file of another name:
    the commit of an earlier attempt may still land, and names its own file.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        destination: Destination,
        fence: Fence,
        *,
        run: Run,
        by: str,
        last: Mapping[str, object],
        clock: Callable[[], datetime],
        step: Callable[[str], None],
    ) -> None:
        """``last`` holds the number and the sums of the last page there is, of any archive."""
        self._store = store
        self._source = source
        self._home = home
        self._destination = destination
        self._fence = fence
        self._run = run
        self._number = page_of(last, "page")
        self._held = sums_of(last, home)  # of what is no longer declared, too: it may be declared again
        self._clock = clock
        self._step = step
        self._about = {
            "archive": run.run_id,
            "to": destination.place,
            "by": by,
            "counted": {each.name: [one.name for one in each.measures] for each in source.aggregations},
        }
        self._name, self._names = "", 0
        self.changed = 0
        """Entries that were edited or deleted between read and commit, and left."""

    def move(self, items: Sequence[Item]) -> Iterator[Page]:
        """Move entries: in one page, or in several if they are too much for one commit of Firestore.

        Yields:
            Each page that has been moved.
        """
        try:
            yield from self._commit(items)
        except Invalid:
            if len(items) == 1:
                raise
            middle = len(items) // 2
            yield from self.move(items[:middle])
            yield from self.move(items[middle:])

    def _commit(self, items: Sequence[Item]) -> list[Page]:
        number = self._number + 1
        tried: list[Page] = []

        def writes() -> list[Write]:
            left = self._unchanged(items) if tried else items
            if not left:
                return []  # the step alone: no attempt before it can land any more
            if not tried or len(left) < len(tried[-1].items):
                tried.append(self._prepared(number, left))
            return tried[-1].writes(
                self._store, self._source, self._home, about=self._about, now=self._clock()
            )

        self._fence.commit(self._run, "page", writes)
        (record,) = self._get([self._home.page(number)])
        landed = [page for page in tried if page.file.name == fields_of(record).get("file")]
        for page in landed:
            self._number, self._held = page.number, page.held(self._home)
        self.changed += len(items) - sum(len(page.items) for page in landed)
        return landed

    def _prepared(self, number: int, items: Sequence[Item]) -> Page:
        """A page with its file, which has been written and read back."""
        file, data = packed(self._new_name(number), (item.line for item in items))
        self._step("file begun")
        self._destination.write(file.name, data)
        self._step("file written")
        unpacked(file, self._destination.read(file.name))
        self._step("file verified")
        return Page(number, items, file, self._held)

    def _new_name(self, number: int) -> str:
        """A name that no other archive can write, nor another attempt of this one."""
        name = f"{self._source.name}-{number:06}-{self._run.run_id}"
        self._names = self._names + 1 if name == self._name else 1
        self._name = name
        return f"{name}.jsonl.gz" if self._names == 1 else f"{name}-{self._names}.jsonl.gz"

    def _unchanged(self, items: Sequence[Item]) -> list[Item]:
        found = self._get([item.document.path for item in items])
        return [
            item
            for item, now in zip(items, found, strict=True)
            if now and now.update_time == item.document.update_time
        ]

    def _get(self, paths: Sequence[str]) -> list[Document | None]:
        self._run.reads += len(paths)
        return self._fence.read(lambda: self._store.get(paths))
