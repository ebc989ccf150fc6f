"""Selection: the stated rule, ties, and splits that share no start."""

from hypothesis import given
from hypothesis import strategies as st

from pirl.evaluation.plan import selection_plan, smoke_plan, suite_plan, wide_plan
from pirl.evaluation.selection import Candidate, list_checkpoints, select
from pirl.experiment.config import PROJECT_ROOT, load_experiment

CANDIDATES = st.lists(
    st.builds(
        lambda env_steps, successes: Candidate(f"{env_steps:06d}", env_steps, successes, 10),
        st.integers(0, 10**6),
        st.integers(0, 10),
    ),
    min_size=1,
    unique_by=lambda candidate: candidate.env_steps,
)


@given(CANDIDATES)
def test_the_best_wins_and_among_equals_the_one_that_learnt_most(candidates):
    best = select(candidates)
    assert all(best.success_rate >= candidate.success_rate for candidate in candidates)
    equals = [c for c in candidates if c.success_rate == best.success_rate]
    assert best.env_steps == max(c.env_steps for c in equals)


def test_checkpoints_are_listed_in_order_and_partial_ones_left_out(tmp_path):
    for name in ("000200", "000100", ".000300.partial"):
        folder = tmp_path / "checkpoints" / name / "pretrained_model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    (tmp_path / "checkpoints" / "000400").mkdir()
    (tmp_path / "checkpoints" / "last").symlink_to("000200")
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["000100", "000200"]


def test_splits_share_no_start_and_only_tests_use_official_states():
    experiment = load_experiment(PROJECT_ROOT / "configs" / "default.yaml")
    experiment["smoke_eval"]["wide_episodes_per_task"] = 20
    selection = {(e.task_id, e.start) for e in selection_plan(experiment)}
    wide = {(e.task_id, e.start) for e in wide_plan(experiment)}
    assert not selection & wide
    assert all(start.kind != "official" for _, start in selection | wide)
    assert all(e.start.kind == "official" for e in smoke_plan(experiment) + suite_plan(experiment))


def test_a_plan_names_every_episode_once():
    experiment = load_experiment(PROJECT_ROOT / "configs" / "default.yaml")
    for plan in (selection_plan(experiment), smoke_plan(experiment), suite_plan(experiment)):
        assert len(set(plan)) == len(plan)
    assert len(smoke_plan(experiment)) == 30
