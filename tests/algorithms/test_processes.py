"""Several processes share an update, and it is the update of one."""

import subprocess
import sys

import pytest
import torch

from pirl.algorithms.processes import Processes
from tests.algorithms.shared_update import SETTINGS, make_xvla, update

pytestmark = pytest.mark.timeout(900)  # three interpreters start


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> list[dict]:
    """What each of two processes ends with, in every setting."""
    path = tmp_path_factory.mktemp("shared") / "results.pt"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, "-m", "tests.algorithms.shared_update", str(path)], check=True, timeout=840)
    return torch.load(path)


@pytest.mark.parametrize(
    "name", sorted(SETTINGS.keys() - {"hybrid"})
)  # whose noise each process draws itself
def test_two_processes_end_where_one_does(shared, name):
    alone = update(name, Processes())
    for results in shared:
        assert results[name]["parameters"].keys() == alone["parameters"].keys()
        for key, tensor in alone["parameters"].items():
            ours = results[name]["parameters"][key]
            if key.endswith("attn.qkv.bias"):
                # Softmax cancels the keys' bias: its gradient is rounding noise, and Adam takes full steps.
                (queries, _, values), (q, _, v) = ours.chunk(3), tensor.chunk(3)
                ours, tensor = torch.cat([queries, values]), torch.cat([q, v])
            assert (ours - tensor).abs().max() < 1e-5, key
        for ours, theirs in zip(results[name]["statistics"], alone["statistics"], strict=True):
            # A mean over micro-batches, which are cut otherwise.
            ours, theirs = (
                {key: value for key, value in stats.items() if key != "policy/clip_fraction"}
                for stats in (ours, theirs)
            )
            assert ours == pytest.approx(theirs, abs=1e-4, rel=1e-4, nan_ok=True)
    torch.manual_seed(0)
    start = dict(make_xvla().named_parameters())
    moved = max(
        float((alone["parameters"][key] - tensor).detach().abs().max()) for key, tensor in start.items()
    )
    assert moved > 1e-3


def test_processes_stay_bit_equal(shared):
    first, second = shared
    for name in SETTINGS:
        for key, tensor in first[name]["parameters"].items():
            assert torch.equal(tensor, second[name]["parameters"][key]), (name, key)
    assert first["kl_stop"]["statistics"][0]["policy/kl_stop"] == 1.0
