"""A run of the suite: every case, its contenders in turn, again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.cases import Case, Settings
from benchmarks.figures import Sample
from benchmarks.frames import Failed
from benchmarks.progress import Progress
from benchmarks.servers import Contender

__all__ = ["Outcome", "run_suite"]


@dataclass
class Outcome:
    """What became of one case."""

    case: Case
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    """By label and contender; the repetitions in their order."""
    failures: list[str] = field(default_factory=list)
    """In words; what failed has no figures."""

    def add(self, contender: str, measured: Mapping[str, Sample]) -> None:
        """One repetition."""
        for label, sample in measured.items():
            self.samples.setdefault(label, {}).setdefault(contender, []).append(sample)


def run_suite(
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    repetitions: int,
    settings: Settings,
    progress: Progress,
) -> list[Outcome]:
    """Measure; what drifts meanwhile meets all contenders of a case alike."""
    outcomes = []
    steps = [(case, [one for one in contenders if case.takes(one)]) for case in cases]
    progress.begin(repetitions * sum(len(taking) for _, taking in steps))
    for case, taking in steps:
        outcome = Outcome(case)
        for repetition in range(repetitions):
            for contender in taking:
                progress.step(f"{case.name}, {contender.name}, {repetition + 1} of {repetitions}")
                try:
                    outcome.add(contender.name, case.measure(contender, settings))
                except Failed as failure:
                    outcome.failures.append(f"{contender.name}: {failure}")
        outcomes.append(outcome)
    progress.end()
    return outcomes
