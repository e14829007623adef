"""Where the platform's limits end each way of counting, in virtual time (`tests.bench.limits`).

Nothing is measured here: a run gives the same figures on any machine.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

from shared.settings import Settings
from tests.bench.limits import APPROACHES, Assumptions, Outcome, Scenario, simulate
from tests.bench.report import COLOURS
from tests.bench.systems import ROOT

RATES = (1, 10, 100, 300, 1_000, 3_000, 10_000)
MOST_EVENTS = 30_000
SHORTEST, LONGEST = 6.0, 90.0


@dataclass(frozen=True)
class Case:
    """A scenario and the table it belongs to."""

    table: str
    says: str
    scenario: Scenario


def timed(scenario: Scenario, longest: float = LONGEST) -> Scenario:
    """Long enough to settle, short enough to run: a third of the time warms up."""
    seconds = max(SHORTEST, min(longest, MOST_EVENTS / scenario.rate))
    return replace(scenario, warm_up=seconds / 3, window=seconds * 2 / 3)


def tuned(instances: int, group_size: int = 2_000) -> Settings:
    """Each instance commits every so many seconds as there are instances: one commit a second in all."""
    linger = timedelta(seconds=instances)
    return Settings(project="demo-limits", group_size=group_size, linger=linger)


def cases(*, quick: bool) -> Iterator[Case]:
    """What is simulated."""
    for rate in (1, 100) if quick else RATES:
        for approach in APPROACHES:
            yield Case("one", "defaults", timed(Scenario(approach, rate, 1)))
    for instances in () if quick else (5, 50):
        for rate in (100, 1_000, 10_000):
            for approach in APPROACHES:
                yield Case("many", "defaults", timed(Scenario(approach, rate, instances)))
    for rate, instances in ((300, 1),) if quick else ((300, 1), (900, 1), (900, 2), (900, 3), (900, 5)):
        scenario = Scenario("libra", rate, instances, settings=tuned(instances))
        yield Case("further", f"linger {instances} s, group 2,000", timed(scenario))
    if not quick:
        five = Assumptions(document_rate=5.0)
        lively = Scenario("libra", 3_000, 5, settings=tuned(1), assumptions=five)
        yield Case("further", "linger 1 s, group 2,000; documents take 5 writes a second", timed(lively))
        cold = Scenario("libra", 900, 1, settings=tuned(1), assumptions=Assumptions(collection_rate=500))
        yield Case("further", "linger 1 s, group 2,000; not ramped up: 500 writes a second", timed(cold))


def run(case: Case) -> Outcome:
    """One case; the ledger's jitter is seeded too."""
    random.seed(case.scenario.seed)
    return simulate(case.scenario)


_TITLES = {
    "one": "One instance, default settings",
    "many": "More instances, default settings",
    "further": "What carries Libra further",
}
_COLUMNS = (
    *("offered /s", "instances", "approach", "settings", "sustained /s", "p50 s", "p99 s"),
    *("writes an event", "commits /s", "aborted /s", "counted too often"),
)


def table(found: Sequence[tuple[Case, Outcome]], name: str) -> list[str]:
    """One table as Markdown."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for case, outcome in found:
        if case.table == name:
            scenario = case.scenario
            cells = [f"{scenario.rate:,}", str(scenario.instances), scenario.approach, case.says]
            cells += [f"{outcome.sustained:,.1f}", f"{outcome.p50:.2f}", f"{outcome.p99:.2f}"]
            cells += [f"{outcome.writes:.2f}", f"{outcome.commits:.2f}", f"{outcome.aborted:.1f}"]
            lines.append(f"| {' | '.join([*cells, str(outcome.overcounted)])} |")
    return lines


def document(found: Sequence[tuple[Case, Outcome]]) -> str:
    """All of it as Markdown."""
    parts = [
        "# The platform's limits, simulated",
        "",
        "Every event adds to the same four totals: the worst case. Libra's ledger is the real code in",
        "virtual time; Firestore, the platform and the three others are models (`tests/bench/limits.py`,",
        "where each assumption stands beside its source). This is the strictest reading of Firestore's",
        "pages: a document sustains **one write a second**.",
        "",
        "`docs/decisions/2026-11-22-pace-by-contention.md` draws the conclusions.",
        "",
        "![sustained events a second over offered](limits.png)",
        "",
    ]
    for name in dict.fromkeys(case.table for case, _ in found):
        parts += [f"## {_TITLES[name]}", "", *table(found, name), ""]
    return "\n".join(parts)


def draw(found: Sequence[tuple[Case, Outcome]], file: Path) -> None:
    """Sustained over offered, one instance, default settings; and Libra with a linger."""
    import matplotlib as mpl  # late: nothing else here needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5.5), layout="constrained")
    for approach, colour in COLOURS.items():
        points = [
            (case.scenario.rate, outcome.sustained)
            for case, outcome in found
            if case.table == "one" and case.scenario.approach == approach
        ]
        axis.plot(*zip(*points, strict=True), "o-", color=colour, label=approach)
    points = [
        (case.scenario.rate, outcome.sustained)
        for case, outcome in found
        if case.table == "further" and case.scenario.assumptions == Assumptions()
    ]
    axis.plot(*zip(*points, strict=True), "D", color=COLOURS["libra"], mfc="white", label="libra, linger")
    axis.plot(RATES, RATES, ":", color="grey", label="all of it")
    axis.set(xscale="log", yscale="log", xlabel="events a second offered", ylabel="sustained")
    axis.set_title("One hot document that takes one write a second (model)")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main(*, quick: bool = False) -> None:
    """Simulate, print, and, unless it is quick, write docs/benchmarks/limits.{json,md,png}."""
    found = [(case, run(case)) for case in cases(quick=quick)]
    print(document(found))
    if quick:
        return
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "limits.md").write_text(document(found))
    stored = [
        {
            "approach": case.scenario.approach,
            "rate": case.scenario.rate,
            "instances": case.scenario.instances,
            "settings": case.says,
            **asdict(outcome),
        }
        for case, outcome in found
    ]
    (folder / "limits.json").write_text(json.dumps(stored, indent=1) + "\n")
    draw(found, folder / "limits.png")
