"""Packing: examples in one row cannot see each other, and the layout changes nothing that is learnt."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collegium import DataError
from collegium.testing.stages import toy_model
from collegium.training.packing import Example, indices_of_step, lay_out, pack, pad
from collegium.training.supervised import supervised_step, trained_logprobs
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.trainer import Trainer


def some_examples(count: int, seed: int = 0) -> list[Example]:
    rng = random.Random(seed)
    lengths = [rng.randint(2, 12) for _ in range(count)]
    return [
        Example(tuple(rng.randrange(2, 11) for _ in range(length)), rng.randint(1, length - 1), str(index))
        for index, length in enumerate(lengths)
    ]


def test_logits_of_packed_examples_are_those_of_the_examples_alone():
    model, examples = toy_model(), some_examples(7)
    rows = lay_out([examples], pad_id=0)
    mask = rows.attention_mask(torch.float32)
    packed = model.hidden_states(rows.token_ids, mask, rows.position_ids) @ model.head.T
    at = 0
    for example in examples:
        alone = model.model(input_ids=torch.tensor([example.token_ids])).logits[0]
        together = packed[0, at : at + len(example.token_ids)]
        assert torch.allclose(together, alone, atol=1e-5)
        at += len(example.token_ids)


def test_without_the_mask_they_would_see_each_other():
    model, examples = toy_model(), some_examples(7)
    rows = lay_out([examples], pad_id=0)
    leaking = model.hidden_states(rows.token_ids, (rows.segments > 0).long(), rows.position_ids) @ model.head.T
    alone = model.model(input_ids=torch.tensor([examples[-1].token_ids])).logits[0]
    assert not torch.allclose(leaking[0, -len(examples[-1].token_ids) :], alone, atol=1e-3)


def test_only_the_completions_are_trained():
    example = Example((5, 6, 7, 1), 2)
    rows = lay_out([[example, example]], pad_id=0)
    assert rows.trained.tolist() == [[False, False, True, True] * 2]
    assert rows.position_ids.tolist() == [[0, 1, 2, 3] * 2]


def test_both_layouts_give_the_same_weights_after_a_step():
    examples = some_examples(20)
    after = []
    for layout, micro_batch in (("packed", 2), ("length-grouped", 3), ("length-grouped", 20)):
        model = toy_model()
        config = SupervisedConfig(layout=layout, row_tokens=24, micro_batch=micro_batch, lr=1e-2)
        metrics = supervised_step(Trainer(model, config, 1), examples, config)
        after.append((metrics["loss"], metrics["grad_norm"]))
    for loss, norm in after[1:]:
        assert loss == pytest.approx(after[0][0], rel=1e-5)
        assert norm == pytest.approx(after[0][1], rel=1e-4)


def test_the_loss_is_the_mean_over_trained_tokens():
    model, examples = toy_model(), some_examples(5)
    alone = torch.cat([trained_logprobs(model, [[example]]) for example in examples])
    config = SupervisedConfig(row_tokens=24)
    assert supervised_step(Trainer(model, config, 1), examples, config)["loss"] == pytest.approx(
        -float(alone.detach().mean()), rel=1e-5
    )


def test_length_grouped_rows_are_in_order_of_length():
    lengths = [len(row[0].token_ids) for row in pad(some_examples(30))]
    assert lengths == sorted(lengths)


@given(st.lists(st.integers(2, 20), min_size=1, max_size=40), st.integers(20, 60))
def test_packing_keeps_every_example_once_and_no_row_overflows(lengths, row_tokens):
    examples = [Example((2,) * length, 1, str(index)) for index, length in enumerate(lengths)]
    rows = pack(examples, row_tokens)
    assert sorted(example.name for row in rows for example in row) == sorted(str(i) for i in range(len(lengths)))
    assert all(sum(len(example.token_ids) for example in row) <= row_tokens for row in rows)


def test_an_example_longer_than_a_row_is_an_error_and_never_cut():
    with pytest.raises(DataError, match=r"'long' has 9 tokens, more than the 8"):
        pack([Example((2,) * 9, 1, "long")], 8)


@given(st.integers(1, 30), st.integers(1, 17))
def test_every_example_comes_once_per_epoch(count, batch):
    steps = -(-3 * count // batch)
    seen = [index for step in range(1, steps + 1) for index in indices_of_step(step, batch, count, seed=7)]
    for epoch in range(3):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_epochs_have_different_orders_that_follow_from_the_seed():
    first, second = (indices_of_step(step, 50, 50, seed=1) for step in (1, 2))
    assert first != second
    assert first == indices_of_step(1, 50, 50, seed=1)
    assert first != indices_of_step(1, 50, 50, seed=2)
