"""Simpler meshes and textures: fewer faces, the same shape, the same physics."""

import mujoco
import numpy as np
import pytest

from pirl.envs import meshes
from pirl.envs.meshes import simplify_mesh, simplify_visuals


def sphere(rows: int):
    """A unit sphere with a normal and a texture coordinate of its own at each corner."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 2 * rows), np.linspace(0, np.pi, rows))
    points = np.stack([np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v)], axis=-1).reshape(-1, 3)
    corner = np.arange(len(points)).reshape(rows, 2 * rows)
    first = np.stack([corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:]], axis=-1).reshape(-1, 3)
    second = np.stack([corner[:-1, :-1], corner[1:, 1:], corner[:-1, 1:]], axis=-1).reshape(-1, 3)
    face = np.concatenate([first, second]).astype(np.int32)
    flat = np.arange(face.size, dtype=np.int32).reshape(-1, 3)
    return {
        "vertices": points.astype(np.float32),
        "normals": points[face.ravel()].astype(np.float32),
        "texcoords": np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32),
        "face": face,
        "facenormal": flat,
        "facetexcoord": face.copy(),
    }


def test_a_sphere_stays_a_sphere():
    mesh = sphere(64)
    face, facenormal, facetexcoord = simplify_mesh(**mesh)
    assert len(face) < 0.3 * len(mesh["face"])
    assert face.shape == facenormal.shape == facetexcoord.shape
    centres = mesh["vertices"][face].mean(axis=1)
    assert np.linalg.norm(centres, axis=1).min() > 0.9
    # Normals and texture coordinates still belong to their corner.
    np.testing.assert_allclose(mesh["normals"][facenormal], mesh["vertices"][face], atol=1e-6)
    np.testing.assert_array_equal(facetexcoord, face)


@pytest.fixture
def model():
    mesh = sphere(48)
    points = " ".join(f"{value:.4f}" for value in mesh["vertices"].ravel())
    faces = " ".join(map(str, mesh["face"].ravel()))
    return mujoco.MjModel.from_xml_string(f"""
    <mujoco><asset>
      <mesh name="ball" vertex="{points}" face="{faces}"/>
      <mesh name="hull" vertex="{points}" face="{faces}"/>
      <texture name="wood" type="2d" builtin="checker" width="2048" height="1024" rgb1="1 1 1" rgb2="0 0 0"/>
      <material name="wood" texture="wood"/>
    </asset><worldbody>
      <geom type="plane" size="5 5 1"/>
      <body pos="0 0 2"><freejoint/>
        <geom type="mesh" mesh="ball" material="wood" contype="0" conaffinity="0" group="1" mass="0"/>
        <geom type="mesh" mesh="hull"/>
      </body>
    </worldbody></mujoco>""")


def test_only_what_never_collides_is_simplified_and_physics_stays(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PIRL_CACHE", str(tmp_path))

    def fall():
        data = mujoco.MjData(model)
        for _ in range(300):
            mujoco.mj_step(model, data)
        return data.qpos.copy()

    faces, landed = model.mesh_facenum.copy(), fall()
    simplify_visuals(model)
    assert model.mesh_facenum[0] < 0.3 * faces[0]
    assert model.mesh_facenum[1] == faces[1]
    assert (model.tex_width[0], model.tex_height[0]) == (512, 256)
    np.testing.assert_array_equal(fall(), landed)


def test_a_mesh_is_computed_once(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PIRL_CACHE", str(tmp_path))
    first = meshes._simplified(model, 0)
    assert len(list(tmp_path.glob("meshes/*.npz"))) == 1
    monkeypatch.setattr(meshes, "simplify_mesh", None)  # would fail if it were needed
    for computed, stored in zip(first, meshes._simplified(model, 0), strict=True):
        np.testing.assert_array_equal(computed, stored)
