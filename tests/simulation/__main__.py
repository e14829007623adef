"""``python -m tests.simulation``: many schedules, on every core; the story of the first that breaks a law."""

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.simulation.run import Figures, many, story, violation
from tests.simulation.schedule import draw

CHUNK = 100
PROGRESS = 10_000
"""Schedules after which a line tells how far it is; a multiple of `CHUNK`."""


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--replay", help="tell the story of one seed")
    return parser.parse_args()


def main() -> int:
    """0 if every law held in every schedule."""
    asked = arguments()
    if asked.replay:
        print(story(draw(asked.replay)))
        return int(violation(draw(asked.replay)) is not None)
    begun, figures, broken = time.monotonic(), Figures(), []
    starts = range(asked.seed, asked.seed + asked.schedules, CHUNK)
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as pool:
        ends = asked.seed + asked.schedules
        futures = [pool.submit(many, start, min(CHUNK, ends - start)) for start in starts]
        for future in as_completed(futures):
            some, seeds = future.result()
            figures.add(some)
            broken += seeds
            lived = figures.schedules + len(broken)
            if lived % PROGRESS == 0:
                printed = f"{lived} schedules, {len(broken)} of them broke a law"
                print(f"{time.monotonic() - begun:6.0f} s  {printed}", file=sys.stderr)
    took = time.monotonic() - begun
    print(figures.printed(took))
    for seed in broken[:1]:
        print(story(draw(seed)))
    print(f"{len(broken)} schedules broke a law" + (f": seeds {', '.join(broken[:20])}" if broken else ""))
    return int(bool(broken))


if __name__ == "__main__":
    raise SystemExit(main())
