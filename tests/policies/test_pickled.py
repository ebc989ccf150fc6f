"""Weights in a pickle are refused with the remedy, and converted on request without running anything."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pirl.evaluation.policy import load_policy
from pirl.policies.export import export_policy
from pirl.policies.pickled import PickledWeights, convert, main
from pirl.runtime.configuration import ConfigError, parse_config
from tests.policies.tiny import save_xvla


@pytest.fixture
def pickled(tmp_path) -> Path:
    """A policy as older releases saved it."""
    folder = save_xvla(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(tmp_path / "original.safetensors")
    return folder


def test_every_reader_refuses_a_pickle_and_names_the_remedy(pickled, tmp_path, monkeypatch):
    remedy = r"pytorch_model\.bin is a pickle.*python -m pirl\.policies\.pickled"
    with pytest.raises(PickledWeights, match=remedy):
        load_policy(pickled, {"task": "libero_object"})
    with pytest.raises(PickledWeights, match=remedy):
        export_policy(pickled, tmp_path / "exported")
    monkeypatch.setattr("sys.argv", ["pirl-learner"])
    flags = ["--env.type=libero", "--env.task=libero_object", "--algorithm.type=pi_rl", "--output_dir=x"]
    with pytest.raises(ConfigError, match=remedy):
        parse_config([f"--policy.path={pickled}", *flags])


def test_a_converted_policy_is_the_same_and_loads(pickled, tmp_path):
    main([str(pickled)])
    before, after = load_file(tmp_path / "original.safetensors"), load_file(pickled / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert load_policy(pickled, {"task": "libero_object"}).policy.config.type == "xvla"


def test_a_pickle_that_would_run_code_is_not_converted(pickled, tmp_path):
    class Gadget:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trap"),)

    torch.save({"weight": Gadget()}, pickled / "pytorch_model.bin")
    with pytest.raises(PickledWeights, match="holds more than tensors"):
        convert(pickled)
    assert not (tmp_path / "trap").exists()
    assert not (pickled / "model.safetensors").exists()


def test_a_folder_without_a_pickle_has_nothing_to_convert(tmp_path):
    with pytest.raises(SystemExit, match="no file with weights in a pickle"):
        main([str(tmp_path)])
    shutil.rmtree(tmp_path)
