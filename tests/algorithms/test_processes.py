"""Several processes share an update, and it is the update of one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pirl.algorithms.processes import Processes
from tests.algorithms.shared_update import SETTINGS, SHARDED, make, update

pytestmark = pytest.mark.timeout(900)  # three interpreters start
# Each process draws the flow-matching noise of its own decisions: not what one process alone would draw.
OWN_NOISE = {"hybrid", "preferred"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> list[dict]:
    """What each of two processes ends with, in every setting."""
    return launch(tmp_path_factory.mktemp("shared") / "results.pt")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> list[dict]:
    """The same, when each keeps its part of the policy only."""
    return launch(tmp_path_factory.mktemp("sharded") / "results.pt", "sharded")


def launch(path: Path, *words: str) -> list[dict]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = [*command, "-m", "tests.algorithms.shared_update", str(path), *words]
    subprocess.run(script, check=True, timeout=840)
    return torch.load(path)


@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - OWN_NOISE))
def test_two_processes_end_where_one_does(shared, name):
    alone = update(name, Processes())
    assert_ends_alike(shared, name, alone)
    start = dict(make(name).policy.named_parameters())
    moved = max(
        float((alone["parameters"][key] - tensor).detach().abs().max()) for key, tensor in start.items()
    )
    assert moved > 1e-3


@pytest.mark.parametrize("name", sorted(SHARDED.keys() - OWN_NOISE))
def test_sharded_processes_end_where_one_does(sharded, name):
    assert_ends_alike(sharded, name, update(name, Processes()))


@pytest.mark.parametrize("name", sorted(OWN_NOISE))
def test_processes_that_draw_their_own_noise_still_agree(shared, name):
    first, second = (results[name]["parameters"] for results in shared)
    start = dict(make(name).policy.named_parameters())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert max(float((first[key] - tensor).detach().abs().max()) for key, tensor in start.items()) > 1e-3


def assert_ends_alike(shared: list[dict], name: str, alone: dict) -> None:
    # What imagined decisions are credited with sums to 0 in every place: near cancellation, rounding counts.
    tolerance = 1e-4 if name == "action_value" else 1e-5
    for results in shared:
        assert results[name]["parameters"].keys() == alone["parameters"].keys()
        for key, tensor in alone["parameters"].items():
            ours = results[name]["parameters"][key]
            # Softmax cancels the keys' bias: its gradient is rounding noise, and Adam takes full steps.
            if key.endswith("attn.k_proj.bias"):
                continue
            if key.endswith("attn.qkv.bias"):
                (queries, _, values), (q, _, v) = ours.chunk(3), tensor.chunk(3)
                ours, tensor = torch.cat([queries, values]), torch.cat([q, v])
            assert (ours - tensor).abs().max() < tolerance, key
        for ours, theirs in zip(results[name]["statistics"], alone["statistics"], strict=True):
            # A mean over micro-batches, which are cut otherwise.
            ours, theirs = (
                {key: value for key, value in stats.items() if key != "policy/clip_fraction"}
                for stats in (ours, theirs)
            )
            assert ours == pytest.approx(theirs, abs=1e-4, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize("results", ["shared", "sharded"])
def test_processes_stay_bit_equal(request, results):
    first, second = request.getfixturevalue(results)
    for name in first:
        for key, tensor in first[name]["parameters"].items():
            assert torch.equal(tensor, second[name]["parameters"][key]), (name, key)
    assert first["kl_stop"]["statistics"][0]["policy/kl_stop"] == 1.0


def test_each_process_keeps_half_of_the_blocks_and_of_their_moments(sharded):
    algorithm = make("encoder")
    blocks = {id(p) for block in algorithm.flow.blocks() for p in block.parameters()}
    whole = {n: p.numel() for n, p in algorithm.policy.named_parameters() if id(p) in blocks}
    denoiser = {n: size for n, size in whole.items() if n.startswith("model.transformer")}
    assert 0 < len(denoiser) < len(whole)
    for results in sharded:
        for name, trained in (("encoder", whole), ("flow_sde", denoiser)):
            assert {n: 2 * size for n, size in results[name]["parts"].items()} == whole
            assert {n: 2 * size for n, size in results[name]["moments"].items()} == trained


def test_sharded_processes_make_equally_many_passes():
    rows, shares, lengths = torch.tensor([0, 3, 1, 6]), 0.0, []
    for rank in range(3):
        process = Processes()
        process.rank, process.count, process.in_step = rank, 3, True
        passes = process.passes(rows, size=2, total=7)
        lengths.append([len(piece) for piece, _ in passes])
        shares += sum(share for _, share in passes)
        assert all((piece % 3 == rank).all() for piece, _ in passes)
    assert lengths == [[2, 1], [1, 1], [1, 1]]
    assert shares == 1.0
    assert process.passes(rows[:0], size=2, total=7) == []
    [(spare, share)] = process.passes(torch.tensor([0]), size=2, total=1)
    assert (spare.tolist(), share) == ([0], 0.0)
