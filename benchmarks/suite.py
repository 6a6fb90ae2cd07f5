"""Run the cases of the suite with all contenders and repetitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.cases import Case, Settings
from benchmarks.figures import Sample
from benchmarks.frames import CheckFailed
from benchmarks.progress import Progress
from benchmarks.servers import Contender

__all__ = ["CaseResult", "run_suite"]


@dataclass
class CaseResult:
    """The samples and failures of one case."""

    case: Case
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    """The repetitions by label and contender, in their order."""
    failures: list[str] = field(default_factory=list)
    """Descriptions of failed measurements, which have no samples."""

    def add(self, contender: str, measured: Mapping[str, Sample]) -> None:
        """Add the samples of one repetition."""
        for label, sample in measured.items():
            self.samples.setdefault(label, {}).setdefault(contender, []).append(sample)


def run_suite(
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    repetitions: int,
    settings: Settings,
    progress: Progress,
) -> list[CaseResult]:
    """Measure all cases.

    In each repetition the contenders take turns, so that a drift of the machine affects all of
    them.
    """
    outcomes = []
    steps = [(case, [one for one in contenders if case.takes(one)]) for case in cases]
    progress.begin(repetitions * sum(len(taking) for _, taking in steps))
    for case, taking in steps:
        outcome = CaseResult(case)
        for repetition in range(repetitions):
            for contender in taking:
                progress.step(f"{case.name}, {contender.name}, {repetition + 1} of {repetitions}")
                try:
                    outcome.add(contender.name, case.measure(contender, settings))
                except CheckFailed as failure:
                    outcome.failures.append(f"{contender.name}: {failure}")
        outcomes.append(outcome)
    progress.end()
    return outcomes
