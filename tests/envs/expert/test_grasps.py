"""Grasp planning on simple solids, where the right answer is plain."""

import numpy as np
import pytest

from pirl.envs.expert.geometry import sample_box, sample_capsule
from pirl.envs.expert.grasps import clusters, plan_grasps

NOTHING = np.empty((0, 3))


def box(size, centre=(0.0, 0.0, 0.0)):
    """Surface of a box that stands on z = 0."""
    half = 0.5 * np.asarray(size)
    return sample_box(half, 0.004) + centre + [0, 0, half[2]]


def bowl(radius=0.055, height=0.05):
    """A cylindrical wall, too wide to span."""
    angles = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    heights = np.arange(0, height, 0.004)
    rings = [
        np.column_stack([radius * np.cos(angles), radius * np.sin(angles), 0 * angles + z]) for z in heights
    ]
    return np.concatenate(rings)


def test_a_long_box_is_taken_across_its_short_side_in_the_middle():
    best = plan_grasps(box((0.12, 0.04, 0.06)), NOTHING, current_yaw=0.0)[0]
    np.testing.assert_allclose(best.opening, [0, 1, 0], atol=1e-6)
    assert np.linalg.norm(best.position[:2]) < 0.01
    assert best.width == pytest.approx(0.04, abs=1e-6)


def test_a_box_wider_than_the_fingers_cannot_be_taken():
    assert plan_grasps(box((0.12, 0.1, 0.06)), NOTHING, current_yaw=0.0) == []


def test_a_bowl_is_taken_by_its_rim_square_to_the_wall():
    best = plan_grasps(bowl(), NOTHING, current_yaw=0.0)[0]
    radius = np.linalg.norm(best.position[:2])
    assert radius == pytest.approx(0.055, abs=0.006)
    assert abs(best.position[:2] @ best.opening[:2]) / radius > 0.95


def test_a_neighbour_in_the_fingers_way_is_avoided():
    target = box((0.04, 0.04, 0.06))
    wall = box((0.2, 0.02, 0.2), centre=(0.0, 0.05, 0.0))
    free = plan_grasps(target, NOTHING, current_yaw=np.pi / 2)[0]
    assert abs(free.opening[1]) > 0.9
    assert abs(plan_grasps(target, wall, current_yaw=np.pi / 2)[0].opening[0]) > 0.9


def test_fingers_stay_above_what_a_thin_object_lies_on():
    best = plan_grasps(box((0.08, 0.04, 0.018)), NOTHING, current_yaw=np.pi / 2)[0]
    assert best.position[2] - 0.0095 >= 0.003 - 1e-9


def test_clusters_split_at_gaps():
    assert clusters(np.array([0.3, 0.0, 0.01, 0.31]), gap=0.05) == [(0.0, 0.01), (0.3, 0.31)]


def test_sampled_points_lie_on_the_surface():
    points = sample_box(np.array([0.1, 0.2, 0.3]), 0.05)
    assert (np.abs(points / [0.1, 0.2, 0.3]).max(axis=1) == pytest.approx(1.0)) if len(points) else False
    capsule = sample_capsule(0.02, 0.05, 0.004)
    over = np.maximum(np.abs(capsule[:, 2]) - 0.05, 0)
    np.testing.assert_allclose(np.hypot(np.hypot(capsule[:, 0], capsule[:, 1]), over), 0.02, atol=1e-9)
