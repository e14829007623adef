"""What a batch job on Dataflow has used, from its own metrics, and what that costs. Pure."""

from collections.abc import Iterable
from typing import Any

VCPU_HOUR = 0.056
"""USD for a vCPU of a batch worker, an hour, in us-central1: https://cloud.google.com/dataflow/pricing, as
`apache_beam.testing.load_tests.dataflow_cost_consts` of Beam 2.77 has it (2026-11). A streaming worker costs
0.069."""

GB_HOUR = 0.003557
"""USD for a GB of its memory, an hour; the same sources."""


def cost(metrics: Iterable[Any]) -> str:
    """In words. Disks and shuffled bytes are not in it: a count shuffles totals, which are few.

    ``TotalVcpuTime`` is in seconds, ``TotalMemoryUsage`` in MB seconds
    (https://cloud.google.com/dataflow/docs/guides/using-monitoring-intf, 2026-11).
    """
    found = {each.key.metric.name: each.committed or each.attempted or 0 for each in metrics}
    hours, memory = found.get("TotalVcpuTime", 0) / 3_600, found.get("TotalMemoryUsage", 0) / 1_024 / 3_600
    price = hours * VCPU_HOUR + memory * GB_HOUR
    return f"{hours:,.1f} vCPU hours, {memory:,.1f} GB hours, about {price:,.2f} USD"
