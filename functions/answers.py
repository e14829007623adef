"""An HTTP request for a recompute to its options, and what became of it to an answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.counting import STRATEGIES, Strategy
from shared.errors import LeaseHeld, LibraError, StrategyUnsupported
from shared.log import logger
from shared.recompute import Compaction, Recompute, Report

MAX_BODY = 10_000
"""Bytes; options take a few dozen."""

Answer = tuple[dict[str, object], int]
"""What is sent as JSON, and the HTTP status."""


class BadRequest(LibraError):  # noqa: N818 - HTTP's name for it
    """The options cannot be used; the message says which, what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may say."""

    dry_run: bool = False
    strategy: Strategy = "auto"
    accept_loss: bool = False
    compact: bool = False
    source: str | None = None
    """None: every source."""


def parse(body: bytes) -> Options:
    """The options in a request's body; an empty body asks for the defaults.

    Raises:
        BadRequest: it holds something else.
    """
    given = _object(body)
    allowed = ("dry_run", "strategy", "accept_loss", "compact", "source")
    if unknown := sorted(given.keys() - set(allowed)):
        raise BadRequest(
            f"unknown options {unknown}: expected {', '.join(allowed[:-1])} and {allowed[-1]}, all optional"
        )
    if _flag(given, "compact"):
        if others := sorted(given.keys() - {"compact", "source"}):
            raise BadRequest(f"compact: it goes with source and no other option, found {others}")
        return Options(compact=True, source=_source(given))
    dry_run, accept_loss = _flag(given, "dry_run"), _flag(given, "accept_loss")
    strategy = given.get("strategy", "auto")
    if strategy not in STRATEGIES:
        raise BadRequest(f"strategy: expected one of {', '.join(STRATEGIES)}, found {strategy!r}")
    return Options(dry_run, strategy, accept_loss, source=_source(given))


def _source(given: Mapping[str, object]) -> str | None:
    if "source" not in given:
        return None
    name = given["source"]
    if not isinstance(name, str):
        raise BadRequest(f"source: expected the name of a source, found {name!r}")
    return name


def _flag(given: Mapping[str, object], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest(f"{name}: expected true or false, found {value!r}")
    return value


def _object(body: bytes) -> dict[str, object]:
    if len(body) > MAX_BODY:
        raise BadRequest(f"the body has more than {MAX_BODY} bytes: expected a small JSON object")
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise BadRequest("the body is no JSON: expected an object, or nothing") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is no JSON object")
    return given


def answer(body: bytes, recomputes: Callable[[], Mapping[str, Recompute]]) -> Answer:
    """Run what the body asks for, and say what became of it.

    Of a source that is named: 200 and its report; 400; 409 while another run is under way; or 500.

    Of every source, one after another: the answer about the first one, `libra`, with those about the others
    by their names in ``sources``. ``strategy`` and ``accept_loss`` are about the first one alone. The status
    is the worst of all. Where another source is worse off than the first one, ``error`` and ``reason`` tell
    of it. So no failure hides a result.
    """
    try:
        options = parse(body)
        wanted = _wanted(options, recomputes())
    except BadRequest as error:
        return _told(error), 400
    except LibraError as error:
        return _failed(error, "every source"), 500
    (first, recompute), *others = wanted.items()
    reply, status = _result(first, recompute, options)
    if options.source is not None:
        return reply, status
    about_all = Options(options.dry_run, compact=options.compact)
    results = {name: _result(name, each, about_all) for name, each in others}
    for name, (result, found) in results.items():
        if found > status:
            status = found
            reply = reply | {"error": result["error"], "reason": f"{name}: {result['reason']}"}
    return reply | {"sources": {name: result for name, (result, _) in results.items()}}, status


def _wanted(options: Options, recomputes: Mapping[str, Recompute]) -> Mapping[str, Recompute]:
    if options.source is None:
        return recomputes
    if options.source not in recomputes:
        raise BadRequest(f"source: expected one of {', '.join(recomputes)}, found {options.source!r}")
    return {options.source: recomputes[options.source]}


def _result(name: str, recompute: Recompute, options: Options) -> Answer:
    try:
        return _run(options, recompute).as_json(), 200
    except StrategyUnsupported as error:
        return _told(error), 400
    except LeaseHeld as error:
        return _told(error), 409
    except LibraError as error:
        return _failed(error, name), 500


def _run(options: Options, recompute: Recompute) -> Report | Compaction:
    if options.compact:
        return recompute.compact()
    if options.dry_run:
        return recompute.verify(options.strategy)
    return recompute.run(options.strategy, accept_loss=options.accept_loss)


def _failed(error: LibraError, source: str) -> dict[str, object]:
    logger.error("A recompute failed", extra=_told(error) | {"source": source})
    return _told(error)


def _told(error: LibraError) -> dict[str, object]:
    return {"error": type(error).__name__, "reason": str(error)}
