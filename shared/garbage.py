"""How often a long-running process looks for garbage."""

import gc

COLLECT_EVERY = 10_000
"""How many containers are made between two garbage collections. Python's own 700 has what a request or a
message made looked through several times while it is under way, and the modules with it: a third of the API's
CPU, a fifth of the worker's."""


def collect_seldom() -> None:
    """Look for garbage less often, and never at what is loaded by now, which stays."""
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)
