"""The model card tells what a reader needs; pirl-push sends the policy alone, and only when told."""

import pytest
from huggingface_hub import HfApi, ModelCard

from pirl.evaluation.model_card import write_model_card
from pirl.evaluation.push import main
from pirl.evaluation.selection import Candidate
from pirl.experiment.config import PROJECT_ROOT, load_experiment


@pytest.fixture
def policy(tmp_path):
    for name in ("config.json", "model.safetensors", "policy_preprocessor.json", "notes.txt", ".secret"):
        (tmp_path / name).write_text("{}")
    experiment = load_experiment(PROJECT_ROOT / "configs" / "default.yaml")
    write_model_card(tmp_path, experiment, "pi_rl_flow_sde", "xvla", Candidate("000800", 800, 12, 15))
    return tmp_path


def test_the_card_is_read_by_the_hub_and_states_the_protocol(policy):
    card = ModelCard.load(policy / "README.md")
    assert card.data.library_name == "lerobot"
    assert {"libero", "xvla", "pi_rl_flow_sde"} <= set(card.data.tags)
    for fact in ("12 of 15 episodes", "55% to 93%", "libero_object, tasks 7, 8, 9", "800 of", "Seed | 0"):
        assert fact in card.text, fact


def test_nothing_is_sent_unless_told(policy, capsys, monkeypatch):
    monkeypatch.setattr(HfApi, "upload_folder", lambda *_, **__: pytest.fail("sent"))
    main(["--policy", str(policy), "--repo", "me/policy"])
    printed = capsys.readouterr().out
    assert "nothing was sent to me/policy" in printed
    assert "model.safetensors" in printed
    assert "notes.txt" not in printed


def test_only_the_policys_own_files_are_sent(policy, monkeypatch):
    sent = {}
    monkeypatch.setattr(HfApi, "create_repo", lambda self, repo, **options: sent.update(repo=repo, **options))
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **options: sent.update(options))
    main(["--policy", str(policy), "--repo", "me/policy", "--upload", "--private"])
    assert sent["private"]
    assert sorted(sent["allow_patterns"]) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "policy_preprocessor.json",
    ]


@pytest.mark.parametrize(
    ("repo", "removed", "message"),
    [("me/policy", "README.md", r"lacks README\.md"), ("not a name", None, "pirl-push: ")],
)
def test_what_cannot_be_pushed_is_named(policy, repo, removed, message):
    if removed:
        (policy / removed).unlink()
    with pytest.raises(SystemExit, match=message):
        main(["--policy", str(policy), "--repo", repo])
