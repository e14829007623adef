"""In which order a change of `LIBRA_LAG_SECONDS` is safe.

The trigger applies an entry without reading the watermark if it is younger than its LAG (less a margin):
no watermark can have passed it. That holds while the trigger's LAG is no longer than that of any
recompute which has set a watermark. So, for a new LAG:

- **shorter**: the trigger goes first. The recompute follows once no instance with the old, longer LAG is
  left: such an instance would take an entry for fresh that the new watermark has passed already.
- **longer**: the recompute goes first. The trigger follows once the last watermark of the old, shorter
  LAG is older than the new LAG: else the trigger would take an entry for fresh that it has passed.

One run of `up` takes one step. The next one, later, takes the other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

DRAIN = timedelta(minutes=20)
"""How long an instance of an old revision may live: 15 minutes idle, and a request's timeout before
(https://cloud.google.com/run/docs/about-instance-autoscaling, 2026-11), rounded up."""
LONGEST_RUN = timedelta(hours=1)
"""The recompute's timeout: a run with the old LAG may still be under way that long after a deployment."""


@dataclass(frozen=True)
class Deployed:
    """A deployed function's LAG and when it was last deployed."""

    lag: timedelta
    since: datetime


@dataclass(frozen=True)
class Plan:
    """The LAG to deploy each function with now, and what is still to do, or nothing."""

    trigger: timedelta
    recompute: timedelta
    pending: str = ""


def plan(wanted: timedelta, trigger: Deployed | None, recompute: Deployed | None, now: datetime) -> Plan:
    """What is safe to deploy at `now`, given what is deployed.

    Shortening the trigger's and lengthening the recompute's is always safe; the other way each must wait
    for the other function to have had its new LAG for long enough.
    """
    trigger_lag = recompute_lag = wanted
    pending = ""
    if recompute and wanted < recompute.lag:
        ready = _ready(trigger, trigger is not None and trigger.lag <= wanted, DRAIN, now)
        if now < ready:
            recompute_lag, pending = recompute.lag, _later("recompute", wanted, ready)
    if trigger and wanted > trigger.lag:
        ready = _ready(
            recompute, recompute is not None and recompute.lag >= wanted, wanted + LONGEST_RUN, now
        )
        if now < ready:
            trigger_lag, pending = trigger.lag, _later("trigger", wanted, ready)
    return Plan(trigger_lag, recompute_lag, pending)


def _ready(other: Deployed | None, agrees: bool, wait: timedelta, now: datetime) -> datetime:
    """When the other function has had its LAG for long enough; it gets it now if it does not agree yet."""
    return (other.since if other and agrees else now) + wait


def _later(which: str, wanted: timedelta, when: datetime) -> str:
    return (
        f"LIBRA_LAG_SECONDS={wanted.total_seconds():.0f} is not yet deployed to the {which}: "
        f"run ./deploy.sh up again after {when.isoformat(timespec='minutes')}"
    )
