"""Simpler things to look at: visual meshes with a 25th of the faces, textures no larger than they show.

A software renderer spends nearly all its time on vertices, and LIBERO's scanned objects have 10,000 to 60,000
faces each for some 30 pixels. Collision meshes are never touched: physics stays the same.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import mujoco
import numpy as np

from pirl.envs.assets import cache_folder

# Share of faces kept, but never fewer than `MIN_FACES`.
KEEP = 0.04
MIN_FACES = 300
# Largest deviation allowed, relative to the mesh's extent.
MAX_ERROR = 0.01
MAX_TEXTURE = 512  # pixels along a side
# Part of each cached file's key; raise it whenever the result would change.
VERSION = 3


def simplify_visuals(model: mujoco.MjModel) -> None:
    """Simplify all visual meshes and textures of a compiled model, in place, before it is uploaded.

    Simplified meshes are kept in the cache folder, so each is computed once on a machine.
    """
    for mesh in _visual_meshes(model):
        _replace_mesh(model, mesh, *_simplified(model, mesh))
    for texture in range(model.ntex):
        _shrink_texture(model, texture)
    model.vis.quality.offsamples = 0


def _visual_meshes(model: mujoco.MjModel) -> list[int]:
    """Meshes that are seen but never collide."""
    is_mesh = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    colliding = set(model.geom_dataid[is_mesh & collides])
    return sorted(int(mesh) for mesh in set(model.geom_dataid[is_mesh & ~collides]) - colliding if mesh >= 0)


def _simplified(model: mujoco.MjModel, mesh: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces, face normals and face texture coordinates of the simplified mesh, from the cache if there."""
    parts = _mesh_arrays(model, mesh)
    if len(parts["face"]) < MIN_FACES:
        return parts["face"], parts["facenormal"], parts["facetexcoord"]
    digest = hashlib.sha256(f"{VERSION} {KEEP} {MAX_ERROR} {mujoco.__version__}".encode())
    for array in parts.values():
        digest.update(np.ascontiguousarray(array).tobytes())
    path = cache_folder() / "meshes" / f"{digest.hexdigest()[:32]}.npz"
    if path.is_file():
        with np.load(path) as stored:
            return stored["face"], stored["facenormal"], stored["facetexcoord"]
    result = simplify_mesh(**parts)
    _write(path, *result)
    return result


def _mesh_arrays(model: mujoco.MjModel, mesh: int) -> dict[str, np.ndarray]:
    faces = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh])
    vertices = slice(model.mesh_vertadr[mesh], model.mesh_vertadr[mesh] + model.mesh_vertnum[mesh])
    normals = slice(model.mesh_normaladr[mesh], model.mesh_normaladr[mesh] + model.mesh_normalnum[mesh])
    first, count = model.mesh_texcoordadr[mesh], model.mesh_texcoordnum[mesh]
    return {
        "vertices": model.mesh_vert[vertices],
        "normals": model.mesh_normal[normals],
        "texcoords": model.mesh_texcoord[first : first + count]
        if first >= 0
        else np.zeros((0, 2), np.float32),
        "face": model.mesh_face[faces],
        "facenormal": model.mesh_facenormal[faces],
        "facetexcoord": model.mesh_facetexcoord[faces],
    }


def simplify_mesh(
    vertices: np.ndarray,
    normals: np.ndarray,
    texcoords: np.ndarray,
    face: np.ndarray,
    facenormal: np.ndarray,
    facetexcoord: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collapse edges until about `KEEP` of the faces are left.

    Corners that share position and texture coordinate are welded first (scans give each face its own normals,
    which would hold every edge in place); each corner of the result takes, of the normals that met there, the
    one nearest to its face's.

    Args:
        vertices: float32 [V, 3].
        normals: float32 [N, 3].
        texcoords: float32 [T, 2], or empty.
        face: int32 [F, 3], rows of `vertices`.
        facenormal: int32 [F, 3], rows of `normals`.
        facetexcoord: int32 [F, 3], rows of `texcoords`.

    Returns:
        `face`, `facenormal` and `facetexcoord` of the simplified mesh, int32 [f, 3].
    """
    from meshoptimizer import simplify

    positions = np.ascontiguousarray(vertices[face.ravel()], dtype=np.float32)
    seams = texcoords[facetexcoord.ravel()] if len(texcoords) else np.zeros((len(positions), 0), np.float32)
    _, corner, welded = np.unique(
        np.hstack([positions, seams]), axis=0, return_index=True, return_inverse=True
    )
    welded = welded.ravel().astype(np.uint32)
    simplified = np.empty_like(welded)
    count = simplify(
        simplified,
        welded,
        np.ascontiguousarray(positions[corner]),
        target_index_count=3 * max(MIN_FACES, int(KEEP * len(face))),
        target_error=MAX_ERROR,
    )
    if count == 0:
        return face, facenormal, facetexcoord
    corners = simplified[:count]
    chosen = corner[corners]
    kept = face.ravel()[chosen].reshape(-1, 3)
    nearest = _nearest_normals(vertices[kept], normals, facenormal.ravel(), welded, corners)
    return kept, nearest.reshape(-1, 3), facetexcoord.ravel()[chosen].reshape(-1, 3)


def _nearest_normals(
    triangles: np.ndarray,
    normals: np.ndarray,
    corner_normals: np.ndarray,
    welded: np.ndarray,
    corners: np.ndarray,
) -> np.ndarray:
    """For each corner of the result, the original normal at its place that is nearest to its face's.

    Args:
        triangles: float32 [f, 3, 3].
        normals: float32 [N, 3].
        corner_normals: normal of each original corner, int [3F].
        welded: place of each original corner, int [3F].
        corners: place of each corner of the result, int [3f].

    Returns:
        Rows of `normals`, int32 [3f].
    """
    flat = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    wanted = np.repeat(flat, 3, axis=0)
    order = np.argsort(welded, kind="stable")
    starts = np.searchsorted(welded[order], corners, side="left")
    ends = np.searchsorted(welded[order], corners, side="right")
    best = corner_normals[order[starts]].copy()
    best_match = np.sum(normals[best] * wanted, axis=1)
    for step in range(1, int((ends - starts).max())):
        more = np.flatnonzero(starts + step < ends)
        candidate = corner_normals[order[starts[more] + step]]
        match = np.sum(normals[candidate] * wanted[more], axis=1)
        better = match > best_match[more]
        best[more[better]] = candidate[better]
        best_match[more[better]] = match[better]
    return best


def _replace_mesh(
    model: mujoco.MjModel, mesh: int, face: np.ndarray, facenormal: np.ndarray, facetexcoord: np.ndarray
) -> None:
    first, count = model.mesh_faceadr[mesh], len(face)
    model.mesh_face[first : first + count] = face
    model.mesh_facenormal[first : first + count] = facenormal
    model.mesh_facetexcoord[first : first + count] = facetexcoord
    model.mesh_facenum[mesh] = count


def _shrink_texture(model: mujoco.MjModel, texture: int) -> None:
    """Average a texture's pixels in squares until it is at most `MAX_TEXTURE` wide."""
    width, height, channels = (
        int(getattr(model, f"tex_{name}")[texture]) for name in ("width", "height", "nchannel")
    )
    factor = 1
    while width // factor > MAX_TEXTURE and width % (2 * factor) == 0 and height % (2 * factor) == 0:
        factor *= 2
    if factor == 1:
        return
    first = int(model.tex_adr[texture])
    pixels = model.tex_data[first : first + width * height * channels]
    squares = pixels.reshape(height // factor, factor, width // factor, factor, channels)
    small = np.rint(squares.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
    model.tex_data[first : first + small.size] = small.ravel()
    model.tex_width[texture], model.tex_height[texture] = width // factor, height // factor


def _write(path: Path, face: np.ndarray, facenormal: np.ndarray, facetexcoord: np.ndarray) -> None:
    """Write whole or not at all: other processes may look for the same mesh."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".npz")
    with os.fdopen(handle, "wb") as file:
        np.savez_compressed(file, face=face, facenormal=facenormal, facetexcoord=facetexcoord)
    os.replace(partial, path)
