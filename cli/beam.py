"""What commands need of the pipelines' environment: its interpreter, and the strategy `beam`."""

from pathlib import Path

import click

from shared.counting import Beam, Strategy
from shared.counting.engine import Engine
from shared.errors import StrategyUnsupported

ROOT = Path(__file__).resolve().parent.parent
"""Where `pipelines` and its environment are."""

beam_options = click.argument("beam_options", nargs=-1, metavar="[-- BEAM OPTIONS]")


def counting(strategy: Strategy, options: tuple[str, ...]) -> Beam | None:
    """What counts by the strategy ``beam``, if that is asked for.

    Raises:
        StrategyUnsupported: the pipelines' environment is not there.
        click.UsageError: there are options for Beam, and another strategy.
    """
    if strategy != "beam":
        if options:
            raise click.UsageError(f"{' '.join(options)}: options for Beam go with --strategy beam")
        return None
    return Engine(options, python=pipelines_python())


def pipelines_python() -> str:
    """The interpreter that has Beam.

    Raises:
        StrategyUnsupported: it is not installed.
    """
    python = ROOT / ".venv-pipelines" / "bin" / "python"
    if not python.exists():
        raise StrategyUnsupported(
            f"there is no {python}, which has Beam: run make .venv-pipelines/.installed"
        )
    return str(python)
