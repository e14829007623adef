"""The crowd whose events `libra send` sends: seeded, and what the schemas say of it."""

from datetime import UTC, datetime

import pytest

from cli.behaviour import MISTAKES, SOURCES, Crowd, behave
from shared.events import Admitted
from shared.schemas import self_written
from shared.settings import Settings

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def admitted(source: str, event: object) -> Admitted | list[object]:
    """What the source's schema says."""
    schema = self_written(Settings())[source].source.schema
    found = schema.admit(event, NOW)
    return found if isinstance(found, Admitted) else list(found)


@pytest.mark.parametrize("source", SOURCES)
def test_a_crowd_sends_events_that_its_source_takes(source: str) -> None:
    """Each once, each another one."""
    events = list(behave(Crowd(source, 500, NOW)))
    found = [admitted(source, event) for event in events]
    assert all(isinstance(each, Admitted) for each in found)
    assert len({each.id for each in found if isinstance(each, Admitted)}) == len(events) == 500


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_crowd_sends_the_same(source: str) -> None:
    """Another seed, or another moment, sends other events under other ids."""
    crowd = Crowd(source, 100, NOW, seed=3, duplicates=0.2, invalid=0.2)
    assert list(behave(crowd)) == list(behave(crowd))
    ids = [
        {str(each.get("event_id")) for each in behave(Crowd("user_events", 50, NOW, seed))} for seed in (1, 2)
    ]
    assert not ids[0] & ids[1]


def test_some_come_again_and_some_are_wrong() -> None:
    """In about the shares that were asked for; one that comes again says the same."""
    events = list(behave(Crowd("user_events", 1_000, NOW, duplicates=0.3, invalid=0.1)))
    assert 1_250 < len(events) < 1_350
    wrong = [event for event in events if not isinstance(admitted("user_events", event), Admitted)]
    assert 90 < len(wrong) < 180
    said: dict[object, object] = {}
    for event in events:
        assert said.setdefault(event["event_id"], event) == event


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("mistake", range(len(MISTAKES)))
def test_every_mistake_is_one(source: str, mistake: int) -> None:
    """No schema allows it."""
    (event,) = behave(Crowd(source, 1, NOW))
    assert not isinstance(admitted(source, MISTAKES[mistake](event)), Admitted)
