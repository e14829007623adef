"""What the tracker and the flush ask of Redis: raise parts, scan for them, read them, delete them.

It speaks to Redis, Valkey, and a cluster of either. Every error of the client becomes one of `shared.errors`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import AuthenticationError, NoPermissionError, RedisClusterException, RedisError
from redis.retry import Retry

from shared.errors import Denied, Invalid, SettingError, StoreError, Transient
from shared.parts import MOST, Hour, Unreadable, counter_key, part_field, parts_key, parts_pattern

T = TypeVar("T")

VARIABLE = "LIBRA_REDIS_URL"
SECONDS = 5
"""How long a connection or a command may take."""
COUNTER_SECONDS = 40 * 86_400
"""How long a counter to read is kept after its first count. Parts have no end: the flush deletes them."""
PAGE = 1_000
"""Keys of a page of SCAN, and fields of a page of HSCAN: less than a millisecond of the server's time."""
FIELDS = 100
"""Fields of a hash in one run of a script, half a millisecond: 1,000 take 8 ms, and others wait meanwhile."""

RAISE = f"""
local before = {{}}
for i = 2, #KEYS do
  local value = tonumber(ARGV[2 * i - 1])
  local old = tonumber(redis.call('HGET', KEYS[1], ARGV[2 * i - 2]) or '0')
  if not (old and old >= 0 and old <= {MOST}) then old = 0 end
  before[i - 1] = string.format('%.0f', old)
  if value > old then
    redis.call('HSET', KEYS[1], ARGV[2 * i - 2], ARGV[2 * i - 1])
    local gain = value - old
    local counted = redis.pcall('INCRBY', KEYS[i], string.format('%.0f', gain))
    if counted == gain then redis.call('EXPIRE', KEYS[i], ARGV[1]) end
  end
end
return before
"""
"""Raise the parts of one hash, and add each gain to its counter. A counter that is no number stays as it is:
it is only read, and never billed. The text is sent each time: a cluster's pipeline has no EVALSHA."""

FORGET = """
local gone = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    gone = gone + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return gone
"""
"""Delete the fields that hold what was read, and none that was raised since."""


class Raise(NamedTuple):
    """What is to be raised in one hash."""

    merchant: str
    hour: Hour
    values: tuple[tuple[str, str, int], ...]
    """Metric, incarnation and value of each part."""


_ERRORS = (RedisError, RedisClusterException)
"""What the client raises: of a cluster, also what is no error of Redis."""
Fields = list[tuple[bytes, bytes]]
"""Fields of a hash with their values, as they stand there."""


class Counters:
    """One Redis. Threads may use it at once.

    After a fork a child has a client of its own. A thread of the parent may have held a lock of the parent's
    client when the child was forked, and nobody in the child would ever release it.
    """

    def __init__(self, make: Callable[[], "redis.Redis | RedisCluster"], server: str = "Redis") -> None:
        """`make` gives a client."""
        self._make = make
        self._made: list[Any] = [make()]
        self._process = os.getpid()
        self.server = server

    @property
    def _client(self) -> Any:  # the client's own types are unions with coroutines
        if self._process != os.getpid():
            self._made.append(self._make())  # the parent's stays: its end would touch its locks
            self._process = os.getpid()
        return self._made[-1]

    @classmethod
    def connect(cls, url: str) -> Self:
        """A Redis at `redis://user:password@host:port/0`, `rediss://` with TLS, or the cluster of a node at
        `redis+cluster://host:port`. Nothing is asked yet, except of a cluster.

        Raises:
            SettingError: the address is none.
            Transient: the cluster does not answer.
        """
        allowed = "redis://user:password@host:port/0, rediss://... or redis+cluster://host:port"
        kinds = {"redis", "rediss", "unix", "redis+cluster", "rediss+cluster"}
        refused = SettingError(VARIABLE, url.partition("?")[0].rpartition("@")[2], allowed)
        try:
            parts = urlsplit(url)
            server = f"Redis {parts.hostname or parts.path}:{parts.port or 6379}"
        except ValueError:
            parts, server = urlsplit(""), ""
        if parts.scheme not in kinds or not (parts.hostname or parts.path) or "@" in server:
            raise refused
        options: dict[str, Any] = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
        try:
            with _translated(server):
                if parts.scheme.endswith("+cluster"):
                    node = url.replace("+cluster", "", 1)
                    return cls(lambda: RedisCluster.from_url(node, **options), server)
                return cls(lambda: redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options), server)
        except ValueError:
            raise refused from None

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def raise_to(self, raises: Sequence[Raise]) -> list[list[int] | StoreError]:
        """Raise parts; for each hash what they were before, or why not (`Invalid`: it is no hash).

        Raises:
            StoreError: Redis does not answer. Whether it was done is unknown; do it again.
        """
        pieces = [(n, piece) for n, it in enumerate(raises) for piece in _pieces(it.values)]
        with _translated(self.server):
            pipeline = self._client.pipeline(transaction=False)
            for n, values in pieces:
                merchant, hour, _ = raises[n]
                keys = [
                    parts_key(merchant, hour),
                    *(counter_key(merchant, hour.date, it[0]) for it in values),
                ]
                given = [it for metric, name, value in values for it in (part_field(metric, name), value)]
                pipeline.execute_command("EVAL", RAISE, len(keys), *keys, COUNTER_SECONDS, *given)
            answers = pipeline.execute(raise_on_error=False)
        found: list[list[int] | StoreError] = [[] for _ in raises]
        for (n, _), answer in zip(pieces, answers, strict=True):
            before = found[n]
            if isinstance(answer, _ERRORS):
                found[n] = self._of(answer, f" {parts_key(raises[n].merchant, raises[n].hour)}:")
            elif isinstance(before, list):
                before += [int(each) for each in answer]
        return found

    def scan(self, merchant: str | None = None, day: date | None = None) -> Iterator[list[bytes]]:
        """The keys of hashes, page by page; one may come twice.

        Raises:
            StoreError: Redis does not answer.
        """
        with _translated(self.server):
            pattern = parts_pattern(merchant, day)
            page: list[bytes] = []
            for key in self._client.scan_iter(match=pattern, count=PAGE):
                page.append(key)
                if len(page) >= PAGE:
                    yield page
                    page = []
        yield page

    def read(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Fields | Unreadable]]:
        """The fields of hashes, page by page: a large one comes several times, with other fields each time.

        Raises:
            StoreError: Redis does not answer.
        """
        wanted = [(key, 0) for key in keys]
        while wanted:
            with _translated(self.server):
                pipeline = self._client.pipeline(transaction=False)
                for key, cursor in wanted:
                    pipeline.hscan(key, cursor, count=PAGE)
                answers = pipeline.execute(raise_on_error=False)
            asked, wanted = wanted, []
            for (key, _), answer in zip(asked, answers, strict=True):
                if isinstance(answer, _ERRORS):
                    if "WRONGTYPE" not in str(answer):
                        raise self._of(answer)
                    text = key.decode("utf-8", "backslashreplace")
                    yield key, Unreadable(text, "", "", "the key is no hash: something else wrote it")
                    continue
                cursor, fields = answer
                if cursor:
                    wanted.append((key, cursor))
                yield key, list(fields.items())

    def forget(self, read: Iterable[tuple[bytes, Fields]]) -> int:
        """Delete fields that still hold what was read; how many.

        Raises:
            StoreError: Redis does not answer.
        """
        with _translated(self.server):
            pipeline = self._client.pipeline(transaction=False)
            for key, fields in read:
                for piece in _pieces(fields):
                    pipeline.execute_command("EVAL", FORGET, 1, key, *(it for pair in piece for it in pair))
            return sum(pipeline.execute())

    def evict(self, keys: Iterable[bytes]) -> None:
        """Delete hashes whatever they hold, as a full server does. For demonstrations and tests.

        Raises:
            StoreError: Redis does not answer.
        """
        with _translated(self.server):
            for key in keys:
                self._client.delete(key)

    def _of(self, error: Exception, key: str = "") -> StoreError:
        text = f"{self.server}:{key} {error}"
        if "WRONGTYPE" in str(error):
            return Invalid(f"{text}: something else wrote the key; delete or rename it")
        return (Denied if isinstance(error, (AuthenticationError, NoPermissionError)) else Transient)(text)


def _pieces(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[begin : begin + FIELDS] for begin in range(0, len(values), FIELDS))


@contextmanager
def _translated(server: str) -> Iterator[None]:
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        raise Denied(f"{server}: {error}") from error
    except (*_ERRORS, OSError) as error:
        raise Transient(f"{server}: {error}") from error
