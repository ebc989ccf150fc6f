"""What the train stage goes on with: an interrupted run of the same settings and data, and nothing else."""

import json

import pytest


@pytest.fixture
def begin(load_stage, tmp_path):
    """Begins a run again in the folder of an earlier one; says whether that one's checkpoint stays."""
    stage = load_stage("train")
    warm_start, demonstrations = tmp_path / "policy", tmp_path / "libero"
    for folder in (warm_start, demonstrations):
        folder.mkdir()
        (folder / "data.bin").write_bytes(b"as before")
    run = tmp_path / "run"
    settings = {"output_dir": str(run), "algorithm": {"actor_lr": 1e-5}, "budget": {"env_steps": 640}}
    stage.begin(settings, warm_start, demonstrations)
    (run / "checkpoints" / "000640").mkdir(parents=True)

    def again(**changes) -> bool:
        config = stage.begin(settings | changes, warm_start, demonstrations)
        assert json.loads(config.read_text()) == settings | changes
        return (run / "checkpoints" / "000640").is_dir()

    return again


def test_an_interrupted_run_goes_on(begin):
    assert begin()


def test_a_finished_run_is_not_passed_off_as_a_new_one(begin, tmp_path):
    (tmp_path / "run" / "train.json").write_text("{}")
    assert not begin()


def test_other_settings_begin_anew(begin):
    assert not begin(algorithm={"actor_lr": 1e-4})


@pytest.mark.parametrize("source", ["policy", "libero"])
def test_other_data_begin_anew(begin, tmp_path, source):
    (tmp_path / source / "data.bin").write_bytes(b"another")
    assert not begin()


def test_snakemakes_mark_is_no_change(begin, tmp_path):
    (tmp_path / "policy" / ".snakemake_timestamp").touch()
    assert begin()
