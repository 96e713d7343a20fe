"""Pairs: their file, real ones, and how they are encoded, kept aside and scored."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collegium import DataError
from collegium.testing.stages import toy_model
from collegium_dpo.data import EncodedPair, encode, keep_aside, unrelated
from collegium_dpo.loss_config import DpoLoss
from collegium_dpo.objective import formatting_ids
from collegium_dpo.pairs import Pair, read_pairs
from collegium_dpo.scores import score_sequences

NONE = torch.tensor([], dtype=torch.long)
TOKENIZER = toy_model().tokenizer


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_row_has_text_or_messages_and_further_keys_are_ignored(tmp_path):
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    file = lines(
        tmp_path / "p.jsonl",
        {"id": 1, "prompt": "p", "chosen": "c", "rejected": "r"},
        {"prompt": turns, "chosen": "c", "rejected": ""},
        {"instruction": "i", "input": "n", "chosen": "c", "rejected": "r"},
        {"instruction": "i", "input": "", "chosen": "c", "rejected": "r"},
    )
    pairs = read_pairs(file)
    assert pairs[0] == Pair("p", "c", "r", "p.jsonl:1")
    assert pairs[1].prompt == tuple(turns)
    assert [pair.prompt for pair in pairs[2:]] == ["i\nn\n", "i\n"]


def test_a_folder_and_a_gzipped_file_are_read_alike(tmp_path):
    row = {"prompt": "p", "chosen": "c", "rejected": "r"}
    lines(tmp_path / "pairs.jsonl", row)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress((json.dumps(row) + "\n").encode()))
    assert read_pairs(tmp_path)[0].chosen == read_pairs(tmp_path / "x.jsonl.gz")[0].chosen == "c"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "p", "chosen": "c"},
        {"prompt": "p", "chosen": "c", "rejected": 3},
        {"prompt": "p", "chosen": [{"role": "assistant", "content": "c"}], "rejected": "r"},
        {"prompt": "", "chosen": "c", "rejected": "r"},
        {"prompt": [], "chosen": "c", "rejected": "r"},
        {"prompt": [{"role": "user"}], "chosen": "c", "rejected": "r"},
        {"instruction": "", "chosen": "c", "rejected": "r"},
        {"instruction": "i", "input": None, "chosen": "c", "rejected": "r"},
        {"chosen": "c", "rejected": "r"},
    ],
)
def test_a_malformed_row_is_named(tmp_path, row):
    file = lines(tmp_path / "p.jsonl", {"prompt": "p", "chosen": "c", "rejected": "r"}, row)
    with pytest.raises(DataError, match=r"p\.jsonl:2: expected"):
        read_pairs(file)


@pytest.mark.parametrize("text", [None, "", '{"prompt": "p", "cho'])
def test_a_missing_empty_or_cut_file_is_an_error(tmp_path, text):
    file = tmp_path / "p.jsonl"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match=r"p\.jsonl:1"):
        read_pairs(file)


@pytest.mark.parametrize(
    ("name", "count", "equal"),
    [
        ("pref_small_politeness.jsonl", 1100, 6),
        ("pref_llmbar.jsonl.gz", 615, 1),
        ("pref_hh_harmless.jsonl.gz", 1817, 0),
    ],
)
def test_real_pairs_are_read_in_place(real_data, name, count, equal):
    pairs = read_pairs(real_data / name)
    assert len(pairs) == count
    assert sum(pair.chosen == pair.rejected for pair in pairs) == equal
    assert all(pair.prompt for pair in pairs)


def word_pair(prompt: str, chosen: str = "a", rejected: str = "b") -> EncodedPair:
    return encode(TOKENIZER, Pair(prompt, chosen, rejected))


def test_both_completions_are_encoded_behind_the_same_prompt_and_end_with_end_of_sequence():
    pair = word_pair("#ab=", "ab", "b")
    assert TOKENIZER.decode(pair.chosen.token_ids) == "#ab=ab<eos>"
    assert TOKENIZER.decode(pair.rejected.token_ids) == "#ab=b<eos>"
    assert (pair.chosen.start, pair.length, TOKENIZER.decode(pair.prompt_ids)) == (4, 7, "#ab=")


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=30), st.integers(0, 10), st.integers(0, 5))
def test_no_prompt_is_both_trained_and_kept_aside(prompts, count, seed):
    pairs = [word_pair(prompt) for prompt in prompts]
    try:
        data = keep_aside(pairs, count, seed)
    except DataError:
        assert count > 0
        return
    trained, aside = data.pairs[: data.trained], [data.pairs[index] for index in data.heldout]
    assert len(trained) + len(aside) == len(pairs)
    assert len(aside) >= count
    assert not {pair.prompt_ids for pair in trained} & {pair.prompt_ids for pair in aside}
    assert data == keep_aside(pairs, count, seed)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=20).filter(lambda found: len(set(found)) > 1))
def test_an_unrelated_completion_is_of_the_next_other_prompt(prompts):
    texts = [f"#{'abcdef'[prompt]}=" for prompt in prompts]
    pairs = [word_pair(text, text[1] * 2, text[1] * 3) for text in texts]
    for index, example in enumerate(unrelated(pairs, 64)):
        rotated = [*range(index + 1, len(pairs)), *range(index)]
        partner = next(other for other in rotated if prompts[other] != prompts[index])
        letter = "abcdef"[prompts[partner]]
        assert TOKENIZER.decode(example.token_ids) == texts[index] + letter * (3 if index % 2 else 2) + "<eos>"
        assert example.start == 3


def test_unrelated_completions_are_cut_to_what_fits_and_need_two_prompts():
    pairs = [word_pair("#a=", "a", "b"), word_pair("#bbbbb=", "bbbb", "c")]
    assert [len(example.token_ids) for example in unrelated(pairs, 6)] == [6, 6]
    with pytest.raises(DataError, match="all pairs have one prompt"):
        unrelated([pairs[0]] * 3, 64)


def test_scores_are_the_sums_of_plain_log_softmax():
    model = toy_model()
    examples = [encode(model.tokenizer, Pair(f"#{word}=", word, word[::-1])).chosen for word in ("abc", "f", "deadbe")]
    scores = score_sequences(model, examples, NONE)
    for index, example in enumerate(examples):
        ids = torch.tensor(example.token_ids)
        logprobs = model.model(input_ids=ids[None]).logits[0].log_softmax(-1)
        expected = logprobs[:-1].gather(1, ids[1:, None]).squeeze(1)[example.start - 1 :]
        assert scores.logprob[index].item() == pytest.approx(expected.sum().item(), rel=1e-5)
        assert scores.nll[index].item() == pytest.approx(-expected.mean().item(), rel=1e-5)
        assert scores.tokens[index] == len(expected)


def test_formatting_tokens_are_left_out_of_the_comparison_and_kept_in_the_nll():
    model = toy_model()
    example = encode(model.tokenizer, Pair("#ab=", "ab=", "b")).chosen
    formatting = formatting_ids(DpoLoss(mask_formatting=True, formatting_tokens=["="]), model.tokenizer)
    whole, part = score_sequences(model, [example], NONE), score_sequences(model, [example], formatting)
    ids = torch.tensor(example.token_ids)
    logprobs = model.model(input_ids=ids[None]).logits[0].log_softmax(-1)[:-1].gather(1, ids[1:, None]).squeeze(1)
    assert (whole.tokens.item(), part.tokens.item()) == (4, 2)
    assert part.logprob.item() == pytest.approx(logprobs[3:5].sum().item(), rel=1e-5)
    assert part.nll.item() == pytest.approx(whole.nll.item())
    assert part.mean.item() == pytest.approx(logprobs[3:5].mean().item(), rel=1e-5)


def test_a_completion_of_formatting_tokens_only_is_an_error():
    model = toy_model()
    example = encode(model.tokenizer, Pair("#ab=", "", "b", "p.jsonl:3")).chosen
    with pytest.raises(DataError, match=r"'p\.jsonl:3' has a completion of formatting tokens only"):
        score_sequences(model, [example], formatting_ids(DpoLoss(mask_formatting=True), model.tokenizer))
