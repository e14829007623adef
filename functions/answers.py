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


def parse(body: bytes) -> Options:
    """The options in a request's body; an empty body asks for the defaults.

    Raises:
        BadRequest: it holds something else.
    """
    given = _object(body)
    unknown = sorted(given.keys() - {"dry_run", "strategy", "accept_loss", "compact"})
    if unknown:
        raise BadRequest(
            f"unknown options {unknown}: expected dry_run, strategy, accept_loss and compact, all optional"
        )
    if _flag(given, "compact"):
        if len(given) > 1:
            raise BadRequest(f"compact: it goes with no other option, found {sorted(given)}")
        return Options(compact=True)
    dry_run, accept_loss = _flag(given, "dry_run"), _flag(given, "accept_loss")
    strategy = given.get("strategy", "auto")
    if strategy not in STRATEGIES:
        raise BadRequest(f"strategy: expected one of {', '.join(STRATEGIES)}, found {strategy!r}")
    return Options(dry_run, strategy, accept_loss)


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


def answer(body: bytes, recompute: Callable[[], Recompute]) -> Answer:
    """Run what the body asks for: 200 and the report, 400, 409 while another run is under way, or 500."""
    try:
        options = parse(body)
        return _run(options, recompute()).as_json(), 200
    except (BadRequest, StrategyUnsupported) as error:
        return _failed(error), 400
    except LeaseHeld as error:
        return _failed(error), 409
    except LibraError as error:
        logger.error("A recompute failed", extra=_failed(error))
        return _failed(error), 500


def _run(options: Options, recompute: Recompute) -> Report | Compaction:
    if options.compact:
        return recompute.compact()
    if options.dry_run:
        return recompute.verify(options.strategy)
    return recompute.run(options.strategy, accept_loss=options.accept_loss)


def _failed(error: LibraError) -> dict[str, object]:
    return {"error": type(error).__name__, "reason": str(error)}
