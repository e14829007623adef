"""What Redis is asked on behalf of usage metering: no command keeps others waiting."""

import re
from datetime import UTC, datetime

from local.databases import ValkeyServer
from services.usage.counters import FIELDS, PAGE, Counters, Raise
from services.usage.tracker import UsageTracker
from shared.parts import Unreadable, hour_of
from shared.settings import UTC as ZONE


def test_no_command_keeps_redis_from_others_for_long(redis: Counters) -> None:
    """A merchant with thousands of metrics takes several commands, each of some hundred microseconds.

    The time is the machine's: a server that waits for a core looks slow. So this counts what a command asks.
    """
    hour = hour_of(datetime.now(UTC), ZONE)
    values = tuple((f"metric{n}", "i1", n + 1) for n in range(1_500))
    client = redis._client
    before = client.config_get("slowlog-*")
    client.config_set("slowlog-max-len", 50_000)
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    try:
        asked = [Raise("acme", hour, values), Raise("b", hour, values[:1])]
        assert redis.raise_to(asked) == [[0] * 1_500, [0]]
        assert redis.raise_to(asked) == [[it[2] for it in values], [1]]
        held = [pair for page in redis.scan() for pair in redis.read(page)]
        assert (
            redis.forget([(key, found) for key, found in held if not isinstance(found, Unreadable)]) == 1_501
        )
        commands = [entry["command"].decode() for entry in client.slowlog_get(50_000)]
    finally:
        for name, value in before.items():
            client.config_set(name, value)
    assert {it.split()[0] for it in commands} >= {"EVAL", "SCAN", "HSCAN"}
    for command in commands:
        more = re.search(r"\((\d+) more arguments\)$", command)
        assert more is None or int(more[1]) < 4 * FIELDS, command
        counts = re.findall(r"COUNT (\d+)", command)
        assert command.split()[0] not in {"SCAN", "HSCAN"} or counts == [str(PAGE)], command


def test_a_full_redis_refuses_and_the_process_counts_on(redis: Counters, valkey_server: ValkeyServer) -> None:
    """With `noeviction`, as the docs ask for. What was refused arrives once there is room."""
    client = redis._client
    tracker = UsageTracker(valkey_server.url)
    client.config_set("maxmemory", 1)
    try:
        tracker.track("acme", "requests", 5)
        assert not tracker.flush(timeout=0.2)
        tracker.track("acme", "requests", 2)
        assert tracker.unconfirmed == 7
    finally:
        client.config_set("maxmemory", 0)
    assert tracker.close()
    (key,) = [it for page in redis.scan() for it in page]
    assert client.hvals(key) == [b"7"]
