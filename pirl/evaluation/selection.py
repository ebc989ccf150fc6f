"""Choice of one checkpoint per run, by success on starts that serve nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lerobot.utils.constants import CHECKPOINTS_DIR, LAST_CHECKPOINT_LINK, PRETRAINED_MODEL_DIR

from pirl.evaluation.evaluator import EpisodeRecord

RULE = "highest success rate on the selection starts; the latest checkpoint among equals"


@dataclass(frozen=True)
class Candidate:
    """One checkpoint and how it did."""

    checkpoint: str
    env_steps: int
    successes: int
    episodes: int

    @property
    def success_rate(self) -> float:
        """Share of successful episodes."""
        return self.successes / self.episodes


def list_checkpoints(output_dir: Path) -> list[Path]:
    """Complete checkpoints of a run, by environment steps.

    Raises:
        FileNotFoundError: when there is none.
    """
    root = Path(output_dir) / CHECKPOINTS_DIR
    found = [
        folder
        for folder in sorted(root.glob("[0-9]*"))
        if folder.name != LAST_CHECKPOINT_LINK and (folder / PRETRAINED_MODEL_DIR / "config.json").is_file()
    ]
    if not found:
        raise FileNotFoundError(f"{root}: no checkpoint; the training stage has not finished")
    return found


def evaluate_candidates(
    checkpoints: Iterable[Path], evaluate: Callable[[Path], list[EpisodeRecord]]
) -> list[Candidate]:
    """Evaluate each checkpoint on the same planned episodes."""
    candidates = []
    for checkpoint in checkpoints:
        records = evaluate(checkpoint)
        candidates.append(
            Candidate(checkpoint.name, int(checkpoint.name), sum(r.success for r in records), len(records))
        )
    return candidates


def select(candidates: list[Candidate]) -> Candidate:
    """Apply `RULE`."""
    return max(candidates, key=lambda candidate: (candidate.success_rate, candidate.env_steps))
