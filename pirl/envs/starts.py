"""Initial states by name, so that every episode's record says where it began."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

StartKind = Literal["official", "sampled", "wide"]
START_KINDS: frozenset[str] = frozenset(get_args(StartKind))


@dataclass(frozen=True)
class Start:
    """Which initial state an episode begins from; the same values give the same state.

    Attributes:
        kind: `official`: one of LIBERO's own 50 states, for tests only. `sampled`: drawn from the task's
            placement regions, distributed as the official ones. `wide`: sampled, then objects and arm moved.
        index: row of the official states; 0 otherwise.
        seed: seeds the fixtures' poses always, and the state when it is drawn.
    """

    kind: StartKind
    index: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in START_KINDS:
            raise ValueError(f"start kind {self.kind!r} is not one of {', '.join(sorted(START_KINDS))}")
        if self.seed < 0 or self.index < 0:
            raise ValueError(f"{self}: index and seed must not be negative")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Start:
        """Undo `to_dict`."""
        return cls(**values)
