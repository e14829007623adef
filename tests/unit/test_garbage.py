"""How often a long-running process looks for garbage."""

import gc

from shared.garbage import COLLECT_EVERY, collect_seldom


def test_garbage_is_collected_less_often_and_what_is_loaded_is_left_alone() -> None:
    """Python's own pace cost the worker a fifth of its CPU."""
    before = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.get_threshold()[0] == COLLECT_EVERY > before[0]
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
