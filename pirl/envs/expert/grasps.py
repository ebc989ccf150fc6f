"""Where to grasp an object from above: wherever it fits between the fingers and nothing is in their way.

One rule covers narrow bodies, rims, walls and handles. In the vertical slab that the fingers sweep, the
object's points form clusters along the opening axis (one for a box, two for the walls of a bowl); any cluster
that fits between the fingers, with free room on both sides where the open fingers come down, is a grasp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FINGER_INNER = 0.038
"""Half the free width between the open fingers, m (pads at 0.0394 m)."""
FINGER_OUTER = 0.067
"""Outermost reach of an open finger from the grip centre along the opening axis, m."""
FINGER_HALF_WIDTH = 0.011
"""Half width of a finger across the opening axis, m."""
TIP_BELOW_GRIP = 0.0095
"""The finger tips reach this far below the grip site, m."""
PALM_ABOVE_TIP = 0.039
"""The palm begins this far above the finger tips, m."""
PALM_HALF_LENGTH, PALM_HALF_WIDTH = 0.104, 0.037
"""Half size of the palm along and across the opening axis, m."""

_PAD_HALF_WIDTH, _PAD_TOP = 0.008, 0.018  # m: the pads, across and above the tips

_DEPTHS = (0.036, 0.028, 0.02, 0.013)  # m of object above the finger tips
_MAX_WIDTH = 0.07  # m, leaves 3 mm a side
_MAX_SKEW = 0.021  # m over the width of a pad: a corner, not two faces
_FLOOR_MARGIN = 0.003  # m between finger tips and what the object stands on


@dataclass(frozen=True)
class Grasp:
    """A top-down grasp.

    Attributes:
        position: Grip site when the fingers close, world frame, shape (3,), m.
        yaw: Angle of the opening axis about z, in [0, pi), rad.
        width: Object width between the fingers, m.
        cost: Lower is better, no unit.
    """

    position: np.ndarray
    yaw: float
    width: float
    cost: float

    @property
    def opening(self) -> np.ndarray:
        """Unit vector the fingers open along, shape (3,)."""
        return np.array([np.cos(self.yaw), np.sin(self.yaw), 0.0])


def clusters(values: np.ndarray, gap: float) -> list[tuple[float, float]]:
    """Intervals (low, high) of sorted runs of `values` that are at least `gap` apart."""
    ordered = np.sort(values)
    breaks = np.flatnonzero(np.diff(ordered) > gap)
    lows = ordered[np.concatenate([[0], breaks + 1])]
    highs = ordered[np.concatenate([breaks, [len(ordered) - 1]])]
    return list(zip(lows.tolist(), highs.tolist(), strict=True))


def plan_grasps(
    points: np.ndarray,
    obstacles: np.ndarray,
    current_yaw: float,
    *,
    num_yaws: int = 24,
    across_spacing: float = 0.008,
    clear_palm: bool = True,
) -> list[Grasp]:
    """All collision-free top-down grasps of an object, best first.

    Args:
        points: Surface points of the object, shape (N, 3), m, world frame.
        obstacles: Surface points of everything else nearby, shape (M, 3), m.
        current_yaw: Opening axis of the gripper now, rad; small turns are preferred.
        num_yaws: Opening directions tried over half a turn.
        across_spacing: Distance between the slabs tried across the opening axis, m.
        clear_palm: Whether the palm must be free too, or may brush against something.

    Returns:
        Grasps sorted by cost; empty if the object cannot be taken from above.
    """
    bottom = float(points[:, 2].min())
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    near = np.linalg.norm(obstacles[:, :2] - centre[:2], axis=1) < 0.3
    obstacles = obstacles[near]
    grasps: list[Grasp] = []
    for yaw in np.arange(num_yaws) * np.pi / num_yaws:
        axes = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
        own = np.column_stack([(points[:, :2] - centre[:2]) @ axes.T, points[:, 2]])
        other = np.column_stack([(obstacles[:, :2] - centre[:2]) @ axes.T, obstacles[:, 2]])
        turn = abs((yaw - current_yaw + np.pi / 2) % np.pi - np.pi / 2)
        reach = own[:, 1].max() - 0.004
        for across in np.linspace(-reach, reach, max(3, 2 * int(reach / across_spacing) + 1)):
            for candidate in _slab_grasps(own, other, float(across), bottom, clear_palm):
                along, tip, width, depth, skew = candidate
                if skew > _MAX_SKEW:
                    continue
                offset = float(np.hypot(along, across))
                cost = offset / 0.04 + 0.6 * turn / (np.pi / 2) - depth / 0.03 + width / 0.03 + skew / 0.01
                xy = centre[:2] + np.array([along, across]) @ axes
                grasps.append(Grasp(np.array([*xy, tip + TIP_BELOW_GRIP]), float(yaw), width, cost))
    return sorted(grasps, key=lambda grasp: grasp.cost)


def _slab_grasps(
    own: np.ndarray, other: np.ndarray, across: float, bottom: float, clear_palm: bool
) -> list[tuple[float, float, float, float, float]]:
    """Grasps (along, tip, width, depth, skew) in the slab at `across`; points are (along, across, z)."""
    in_slab = np.abs(own[:, 1] - across) < FINGER_HALF_WIDTH
    slab = own[in_slab]
    if not len(slab):
        return []
    found = []
    runs = clusters(slab[:, 0], gap=0.012)
    spans = [(runs[i][0], runs[j][1]) for i in range(len(runs)) for j in range(i, len(runs))]
    slabs = {(low, high): slab[(slab[:, 0] >= low) & (slab[:, 0] <= high)] for low, high in spans}
    if len(runs) == 1:  # a bowl: its walls only come apart above the floor of the bowl
        upper = slab[slab[:, 2] > slab[:, 2].max() - 0.02]
        runs = clusters(upper[:, 0], gap=0.012)
        if len(runs) > 1:
            spans = [(low, high) for low, high in runs]
            slabs.update({span: upper[(upper[:, 0] >= span[0]) & (upper[:, 0] <= span[1])] for span in spans})
    for held in slabs.values():
        top = float(held[:, 2].max())
        for wanted in _DEPTHS:
            tip = max(top - wanted, bottom + _FLOOR_MARGIN)
            depth = top - tip
            if depth < 0.008:
                continue
            between = held[held[:, 2] > tip]
            pads = (np.abs(between[:, 1] - across) < _PAD_HALF_WIDTH / 2) & (between[:, 2] < tip + _PAD_TOP)
            if not pads.any():  # only a corner of the object would be held
                continue
            low, high = float(between[:, 0].min()), float(between[:, 0].max())
            width, along = high - low, 0.5 * (low + high)
            if width > _MAX_WIDTH or not _fingers_free(own, other, along, across, tip, clear_palm):
                continue
            found.append((along, tip, width, depth, _skew(between, across)))
            break
    return found


def _skew(between: np.ndarray, across: float) -> float:
    """How far the held faces are from square to the opening axis, m; 0.02 if a pad is half covered."""
    sides = [between[between[:, 1] > across + 0.003, 0], between[between[:, 1] < across - 0.003, 0]]
    if not all(len(side) for side in sides):
        return 0.02
    return float(sum(abs(edge(sides[0]) - edge(sides[1])) for edge in (np.min, np.max)))


def _fingers_free(
    own: np.ndarray, other: np.ndarray, along: float, across: float, tip: float, clear_palm: bool
) -> bool:
    """Whether the open fingers and the palm touch nothing when the tips are at height `tip`."""
    for cloud, margin in ((own, 0.0), (other, 0.004)):
        u, v, z = np.abs(cloud[:, 0] - along), np.abs(cloud[:, 1] - across), cloud[:, 2]
        above = z > tip - margin
        fingers = (
            above
            & (v < FINGER_HALF_WIDTH + margin)
            & (u > FINGER_INNER - margin)
            & (u < FINGER_OUTER + margin)
        )
        palm = (z > tip + PALM_ABOVE_TIP - margin) & (u < PALM_HALF_LENGTH) & (v < PALM_HALF_WIDTH)
        if fingers.any() or (clear_palm and palm.any()):
            return False
    return True
