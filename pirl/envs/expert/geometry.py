"""Points on the surfaces of MuJoCo collision geoms: what the expert plans its grasps on."""

from __future__ import annotations

import mujoco
import numpy as np


def sample_box(half_size: np.ndarray, spacing: float) -> np.ndarray:
    """Grid of points on the six faces of a box.

    Args:
        half_size: Half edge lengths, shape (3,), m.
        spacing: Largest distance between neighbours, m.

    Returns:
        Points in the box's frame, shape (N, 3), m.
    """
    axes = [np.linspace(-h, h, max(2, int(np.ceil(2 * h / spacing)) + 1)) for h in half_size]
    faces = []
    for fixed in range(3):
        free = [a for a in range(3) if a != fixed]
        grid = np.stack(np.meshgrid(axes[free[0]], axes[free[1]], indexing="ij"), axis=-1).reshape(-1, 2)
        for side in (-half_size[fixed], half_size[fixed]):
            face = np.empty((len(grid), 3))
            face[:, free] = grid
            face[:, fixed] = side
            faces.append(face)
    return np.concatenate(faces)


def sample_capsule(radius: float, half_length: float, spacing: float) -> np.ndarray:
    """Rings of points around a capsule or cylinder along z, shape (N, 3), m."""
    heights = np.linspace(
        -half_length - radius, half_length + radius, max(2, int(np.ceil(2 * half_length / spacing)) + 3)
    )
    over = np.clip(np.abs(heights) - half_length, 0.0, radius)
    radii = np.sqrt(np.maximum(radius**2 - over**2, 0.0))
    angles = np.linspace(0, 2 * np.pi, max(8, int(2 * np.pi * radius / spacing)), endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate(
        [np.column_stack([r * ring, np.full(len(ring), z)]) for r, z in zip(radii, heights, strict=True)]
    )


def sample_triangles(vertices: np.ndarray, faces: np.ndarray, spacing: float) -> np.ndarray:
    """Points on a triangle mesh: vertices, and a grid on every triangle wider than `spacing`."""
    points = [vertices]
    corners = vertices[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(axis=1)
    for triangle, edge in zip(corners, longest, strict=True):
        n = int(np.ceil(edge / spacing))
        if n < 2:
            continue
        i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
        inside = i + j <= n
        weights = np.stack([i[inside], j[inside], n - i[inside] - j[inside]], axis=-1) / n
        points.append(weights @ triangle)
    return np.concatenate(points)


def sample_geom(model: mujoco.MjModel, geom: int, spacing: float = 0.004) -> np.ndarray:
    """Surface points of one collision geom in its own frame, shape (N, 3), m.

    Planes have no extent here and give an empty array.
    """
    kind, size = model.geom_type[geom], model.geom_size[geom]
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return sample_box(size, spacing)
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        start, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        first, faces = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        return sample_triangles(
            model.mesh_vert[start : start + count].astype(float),
            model.mesh_face[first : first + faces],
            spacing,
        )
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return sample_capsule(size[0], 0.0, spacing)
    if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        return sample_capsule(size[0], size[1], spacing)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return sample_box(np.array([size[0] * 0.7071, size[0] * 0.7071, size[1]]), spacing)
    return np.empty((0, 3))
