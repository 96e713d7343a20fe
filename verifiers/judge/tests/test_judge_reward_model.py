"""Reward models from real checkpoints: trained here, saved, loaded again; and those that must be refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForCausalLM

from collegium import Abstain, Completion, Error, Sample, Score, Task, VerifierError
from collegium.errors import PolicyError
from collegium_verifier_judge.reward_config import RewardModelConfig
from collegium_verifier_judge.reward_model import RewardModelScore, RewardModelVerifier, sigmoid

TASK = Task("t", "Say something.\n")
GOOD = ["thank you, that is kind", "please take a seat", "you are welcome, thank you", "please, after you"]
BAD = ["get lost", "what a stupid idea", "you are stupid, get lost", "shut up, stupid"]
TEXTS = [text for both in zip(GOOD, BAD, strict=True) for text in both]


@pytest.fixture(scope="module")
def checkpoint(measure: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model trained to prefer the good texts."""
    folder: Path = tmp_path_factory.mktemp("reward-model")
    pairs = [measure.Pair(f"{a}{b}", TASK.prompt, a, b) for a in GOOD for b in BAD] * 4
    measure.train_reward_model(pairs, folder, epochs=3, width=32)
    return folder


@pytest.fixture(scope="module")
def verifier(checkpoint: Path) -> RewardModelVerifier:
    return RewardModelVerifier({"path": checkpoint})


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkpoint that a test may spoil."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def verdicts(verifier: RewardModelVerifier, texts: list[str], task: Task = TASK) -> list[Any]:
    return list(verifier.verify_batch([Completion(text) for text in texts], [task] * len(texts)))


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **changes}))


def test_good_texts_score_above_bad_ones(verifier: RewardModelVerifier) -> None:
    values = [verdict.value for verdict in verdicts(verifier, TEXTS)]
    assert all(0 < value < 1 for value in values)
    assert min(values[0::2]) > max(values[1::2])


def test_the_score_is_the_stated_map_of_the_raw_reward(checkpoint: Path, verifier: RewardModelVerifier) -> None:
    raw = RewardModelScore({"path": checkpoint}).score([Sample(TASK, Completion(text)) for text in TEXTS])
    shifted = RewardModelVerifier({"path": checkpoint, "shift": 0.5, "scale": 2.0})
    for reward, plain, other in zip(raw, verdicts(verifier, TEXTS), verdicts(shifted, TEXTS), strict=True):
        assert isinstance(reward, Score)
        assert plain.details["reward"] == reward.value
        assert plain.value == pytest.approx(1 / (1 + math.exp(-reward.value)))
        assert other.value == pytest.approx(1 / (1 + math.exp(-(reward.value - 0.5) / 2)))


def test_pass_at_makes_it_0_or_1(checkpoint: Path) -> None:
    found = verdicts(RewardModelVerifier({"path": checkpoint, "pass_at": 0.5}), TEXTS)
    assert [verdict.value for verdict in found] == [float(verdict.details["mapped"] >= 0.5) for verdict in found]
    assert {verdict.value for verdict in found} == {0.0, 1.0}


def test_the_reward_is_that_of_the_model_called_by_hand(checkpoint: Path, verifier: RewardModelVerifier) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(str(checkpoint))
    tokenizer = verifier._checkpoint.encoder.tokenizer
    ids = [*tokenizer.encode(TASK.prompt), *tokenizer.encode(GOOD[0]), tokenizer.eos_token_id]
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids])).logits.item()
    assert verdicts(verifier, [GOOD[0]])[0].details["reward"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 3, 64])
def test_batching_padding_and_order_change_nothing_that_matters(
    checkpoint: Path, verifier: RewardModelVerifier, micro_batch: int
) -> None:
    texts = [*TEXTS, "", "long " * 60]
    alone = [verifier.verify(Completion(text), TASK) for text in texts]
    batched = verdicts(RewardModelVerifier({"path": checkpoint, "micro_batch": micro_batch}), texts[::-1])[::-1]
    for one, other in zip(alone, batched, strict=True):
        assert isinstance(one, Score)
        assert one.value == pytest.approx(other.value, abs=1e-5)


def test_a_text_that_is_too_long_is_never_cut(checkpoint: Path) -> None:
    long, short = "word " * 600, "thank you"
    found = verdicts(RewardModelVerifier({"path": checkpoint}), [short, long, short])
    assert [type(verdict) for verdict in found] == [Score, Error, Score]
    assert "reads at most 512" in found[1].reason
    assert found[0].value == pytest.approx(found[2].value)
    found = verdicts(
        RewardModelVerifier({"path": checkpoint, "unscorable": "abstain", "max_length": 20}), [short, long]
    )
    assert isinstance(found[1], Abstain)
    assert "reads at most 20" in found[1].reason


def test_a_special_token_as_text_is_not_scored(verifier: RewardModelVerifier) -> None:
    (found,) = verdicts(verifier, ["get lost<eos>thank you"])
    assert isinstance(found, Error)
    assert "'<eos>'" in found.reason


def test_a_task_with_pictures_is_not_scored(verifier: RewardModelVerifier) -> None:
    (verdict,) = verdicts(verifier, ["fine"], Task("t", "abc", images=(b"a picture",)))
    assert isinstance(verdict, Error)
    assert "has pictures" in verdict.reason


def test_a_checkpoint_without_a_trained_head_is_refused(copy: Path) -> None:
    config = LlamaConfig(
        vocab_size=2000, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=4, num_labels=1, pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(str(copy))
    with pytest.raises(VerifierError, match=r"lacks the weights score\.weight"):
        RewardModelVerifier({"path": copy})


def test_more_than_one_label_is_refused(copy: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(str(copy), num_labels=2, ignore_mismatched_sizes=True)
    model.save_pretrained(str(copy))
    with pytest.raises(VerifierError, match="has 2 labels, expected 1"):
        RewardModelVerifier({"path": copy})


def test_weights_that_are_not_numbers_are_refused_when_padding_is_checked_and_else_an_error(copy: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(str(copy))
    with torch.no_grad():
        model.score.weight.fill_(math.nan)
    model.save_pretrained(str(copy))
    with pytest.raises(VerifierError, match="nan alone"):
        RewardModelVerifier({"path": copy})
    (found,) = verdicts(RewardModelVerifier({"path": copy, "micro_batch": 1}), ["thank you"])
    assert isinstance(found, Error)
    assert "gave nan" in found.reason


def test_a_model_without_padding_is_asked_one_by_one(copy: Path, verifier: RewardModelVerifier) -> None:
    edit(copy / "config.json", pad_token_id=None)
    found = verdicts(RewardModelVerifier({"path": copy}), TEXTS)
    expected = verdicts(verifier, TEXTS)
    assert [each.value for each in found] == pytest.approx([each.value for each in expected], abs=1e-5)


def test_a_folder_that_is_missing_or_cut_short_is_refused_at_plan_time_and_when_built(copy: Path) -> None:
    weights = copy / "model.safetensors"
    assert RewardModelConfig(path=copy).content_paths() == (copy,)
    weights.write_bytes(weights.read_bytes()[:-100])
    for folder, why in ((copy, "its header promises"), (copy / "none", "no such folder")):
        with pytest.raises(PolicyError, match=why):
            RewardModelConfig(path=folder).content_paths()
        with pytest.raises(VerifierError, match=why):
            RewardModelVerifier({"path": folder})


def test_a_maximum_beyond_the_models_is_refused(checkpoint: Path) -> None:
    with pytest.raises(VerifierError, match="reads at most 512 tokens, max_length is 513"):
        RewardModelVerifier({"path": checkpoint, "max_length": 513})


def test_the_chat_layout_needs_a_template_and_renders_the_whole_conversation(copy: Path) -> None:
    with pytest.raises(VerifierError, match="no chat template"):
        RewardModelVerifier({"path": copy, "layout": "chat"})
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<eos>{% endfor %}"
    edit(copy / "tokenizer_config.json", chat_template=template)
    verifier = RewardModelVerifier({"path": copy, "layout": "chat"})
    encoder = verifier._checkpoint.encoder
    chat = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"})
    for prompt, text in (
        ("Hello", "user: Hello<eos>assistant: hi<eos>"),
        (chat, "system: Be kind.<eos>user: Hello<eos>assistant: hi<eos>"),
    ):
        ids = encoder.encode(Completion("hi"), Task("t", prompt))  # type: ignore[arg-type]
        assert encoder.tokenizer.decode(ids) == text
    assert isinstance(verifier.verify(Completion("thank you"), TASK), Score)


def test_a_chat_prompt_without_a_template_is_an_error(verifier: RewardModelVerifier) -> None:
    task = Task("t", ({"role": "user", "content": "Hello"},))
    (found,) = verdicts(verifier, ["thank you"], task)
    assert isinstance(found, Error)
    assert "chat template" in found.reason


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(st.characters(codec=None, exclude_categories=()), max_size=80), max_size=4))
def test_any_unicode_gets_a_verdict(verifier: RewardModelVerifier, texts: list[str]) -> None:
    found = verdicts(verifier, texts)
    assert len(found) == len(texts)
    for text, verdict in zip(texts, found, strict=True):
        encodable = not any(0xD800 <= ord(character) < 0xE000 for character in text)
        assert isinstance(verdict, Score if encodable and "<eos>" not in text and "<pad>" not in text else Error)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_the_map_never_overflows_and_stays_in_bounds(value: float) -> None:
    assert 0 <= sigmoid(value) <= 1
    assert sigmoid(value) + sigmoid(-value) == pytest.approx(1)


def test_real_preferences_are_told_better_than_by_length(measure: ModuleType, real_data: Path) -> None:
    found = measure.report(real_data)
    assert found["pairs"] > 200
    assert found["pairwise"] > max(found["longer_is_better"], found["shorter_is_better"]) + 0.2
    assert found["pairwise_where_the_chosen_is_shorter"] > 0.7
