"""`python -m tests.bench [NAME ...] [--quick]`: every module `bench_NAME` here, or those named."""

import argparse
from importlib import import_module
from pathlib import Path

NAMES = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))


def main() -> None:
    """Run the benchmarks; each prints what it finds and writes it below docs/benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="a minute's look; what is stored in docs/benchmarks stays"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    for name in chosen.names or NAMES:
        import_module(f"tests.bench.bench_{name}").main(quick=chosen.quick)


if __name__ == "__main__":
    main()
