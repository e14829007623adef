"""What the API says of a total never contradicts the entries, on the emulator, under load.

Devices write, edit and delete; events are counted, lost, late and doubled; a recompute runs meanwhile, and
some are killed. Somebody asks all the time. Each answer is compared with the entries afterwards.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from itertools import cycle, takewhile
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libra.client import Total
from local.emulator import Emulator
from services.api.books import Books
from services.api.settings import ApiSettings
from shared import windows
from shared.recompute import Recompute
from shared.store.client import FirestoreStore
from tests.emulator.test_laws_recompute import LEASE, flowing
from tests.support.api import Api
from tests.support.kitchen import Kitchen
from tests.support.recomputing import QUICK, Died, dying_at, exact_at, next_second
from tests.support.truth import Told, Truth

EXAMPLES = 24
ENOUGH = 100.0
"""Seconds after which no example is begun: on a busy machine there are fewer."""
CATEGORIES, DATES = "aggregates_categories", "aggregates_time_dates"
KEYS = ("Kettle Chips", "Basil", "Oats", "Nobody")


@dataclass
class Answer:
    """One answer about totals."""

    aggregation: str
    told: list[Any]
    """Each as `Told` has it."""
    by: datetime
    """When it had come."""
    whole: bool = False
    """Whether it holds every total of the aggregation."""
    exact_through: datetime | None = None
    """That of the whole list."""


@dataclass
class Asker:
    """Asks the API and the windows behind it, and keeps what they say."""

    api: Api
    kitchen: Kitchen
    answers: list[Answer] = field(default_factory=list)
    explained: list[tuple[datetime, str, int]] = field(default_factory=list)
    """The instant of an explanation, the key, and what its entries add up to."""

    @property
    def questions(self) -> Sequence[Callable[[], None]]:
        """Each way to ask."""
        names = [each.name for each in self.kitchen.source.aggregations]
        every: list[Callable[[], None]] = [self.series, self.at_one_instant]
        every += [partial(self.page, name) for name in names]
        every += [partial(self.one, key) for key in KEYS]
        every += [partial(self.explain, key) for key in KEYS[:2]]
        return every

    def everything(self) -> None:
        """Ask each question once."""
        for ask in self.questions:
            ask()

    def page(self, name: str) -> None:
        """Every total of an aggregation, in one page."""
        body = self._body(f"/v1/totals/{name}", order="key", limit=500)
        assert body["next"] is None
        through = body["exact_through"]
        when = datetime.fromisoformat(through) if through else None
        self._keep(name, [Total.of(each) for each in body["totals"]], whole=True, exact_through=when)

    def one(self, key: str) -> None:
        """One total."""
        self._keep(CATEGORIES, [Total.of(self._body(f"/v1/total/{CATEGORIES}", key=key))])

    def series(self) -> None:
        """A few dates, most of them without an entry."""
        body = self._body(f"/v1/series/{DATES}", **{"from": "2025-09-01", "to": "2025-09-06"})
        self._keep(DATES, [Total.of(each) for each in body["totals"]])

    def explain(self, key: str) -> None:
        """The entries of a total, which are those of the instant that it names."""
        body = self._body(f"/v1/explain/{CATEGORIES}", key=key, limit=500)
        self._keep(CATEGORIES, [Total.of(body["total"])])
        if body["next"] is None:
            added = body["entries"][-1]["running"]["count"] if body["entries"] else 0
            said = body["total"]["values"]["count"]
            assert body["unexplained"]["count"] == said - added - body["total"]["archived"]["count"]
            self.explained.append((datetime.fromisoformat(body["at"]), key, added))

    def at_one_instant(self) -> None:
        """What is pending in all is what is pending in each, as of one instant."""
        where = self.kitchen.store, self.kitchen.source, self.kitchen.home
        fresh = windows.freshness(*where)
        for each in self.kitchen.source.aggregations:
            page = windows.totals(*where, each.name, proven=fresh.proof, limit=1_000)
            assert sum(one.pending["count"] for one in page.items) == fresh.pending[each.name]
            through = fresh.proof.exact_through(each.name)
            self._keep(each.name, list(page.items), whole=True, exact_through=through)

    def _keep(self, aggregation: str, told: list[Any], **more: Any) -> None:
        self.answers.append(Answer(aggregation, told, datetime.now(UTC), **more))

    def _body(self, path: str, **params: object) -> dict[str, Any]:
        answer = self.api.get(path, params=params)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask until the block ends."""
        over = threading.Event()

        def ask() -> None:
            for question in takewhile(lambda _: not over.is_set(), cycle(self.questions)):
                question()

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            try:
                yield
            finally:
                over.set()
            asking.result()


def check(asker: Asker, seen: Counter[str]) -> None:
    """No answer contradicts the entries; what the answers were is noted."""
    kitchen = asker.kitchen

    @cache
    def true_at(moment: datetime) -> Mapping[str, int]:
        exact = exact_at(kitchen.store, kitchen.source, moment)
        return {kitchen.home.total(cell): each["count"] for cell, each in exact.items()}

    watermarks = [each["watermark"] for each in kitchen.documents(kitchen.home.runs) if each.get("watermark")]
    for answer in asker.answers:
        truth = Truth(true_at, [each for each in watermarks if each <= answer.by])
        if answer.whole:
            truth.lists(answer.aggregation, answer.exact_through, answer.told)
        for one in answer.told:
            truth.agrees(answer.aggregation, one)
            note(seen, one)
    for moment, key, added in asker.explained:
        assert true_at(moment).get(f"{CATEGORIES}/{key}", 0) == added
        seen["explained"] += added > 0


def note(seen: Counter[str], one: Told) -> None:
    """What kind of an answer it is."""
    seen["proven"] += one.exact_through is not None and one.values["count"] > 0
    seen["pending"] += one.exact_through is not None and one.pending["count"] > 0
    seen["unsettled"] += not one.settled


def history(asker: Asker, seed: int, killed: str | None) -> None:
    """Something is proven; then traffic, a recompute in it, which may be killed, and somebody who asks."""
    kitchen = asker.kitchen

    def run(kitchen: Kitchen, **options: Any) -> None:
        where = kitchen.store, kitchen.source, kitchen.home, kitchen.settings
        Recompute(*where, lease=LEASE, workers=2, **options).run("scan")

    kitchen.write("first")
    next_second()
    run(kitchen)
    with flowing(kitchen, seed), asker.asking():
        next_second()
        if killed is None:
            run(kitchen)
        else:
            victim = replace(kitchen)
            with pytest.raises(Died):
                run(victim, step=dying_at(victim, killed))  # type: ignore[arg-type]  # a store is enough
    asker.everything()


def test_an_answer_under_load_never_contradicts_the_entries(
    api: Api, emulator: Emulator, project: str
) -> None:
    """`values` less `pending` is true at `exact_through`; lists lack nothing; entries explain as of `at`."""
    seen: Counter[str] = Counter()
    begun = time.monotonic()
    deaths = st.sampled_from([None, None, "seal committed", "correct committed", "complete begun"])

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],  # with threads in it, an example does not shrink
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32), deaths)
    def hold(seed: int, killed: str | None) -> None:
        if time.monotonic() - begun > ENOUGH:
            return
        seen["examples"] += 1
        named = f"{project}-{seen['examples']}"
        kept = replace(QUICK, project=named, emulator_host=emulator.address)
        kitchen = Kitchen(FirestoreStore.connect(kept), kept)
        api.app.state.books = Books(replace(ApiSettings.from_environment({}), books=kept))
        asker = Asker(api, kitchen)
        try:
            history(asker, seed, killed)
            check(asker, seen)
        finally:
            api.app.state.books.store.close()
            kitchen.store.close()

    hold()
    assert min(seen[kind] for kind in ("proven", "pending", "unsettled", "explained")) > 0, seen
