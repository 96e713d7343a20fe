"""The sum of advantage terms, and terms that break their contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from collegium import Advantage, ConfigError, Generation, PluginError, Sample, Task, Use
from collegium.testing.stages import toy_job, toy_registry
from collegium.training.advantages import build_terms, sum_of_terms
from collegium.training.batch import RolloutBatch, collate
from collegium.training.context import StageContext


class Constant(Advantage):
    """The same value everywhere, prompts included."""

    def __init__(self, value: float, width: int | None = None) -> None:
        super().__init__()
        self.value, self.width = value, width

    def per_token(self, batch: RolloutBatch) -> torch.Tensor:
        rows, tokens = batch.token_ids.shape
        return torch.full((rows, self.width or tokens), self.value)


@pytest.fixture
def batch() -> RolloutBatch:
    made = [Generation((3, 1), (-0.5, -0.25), "stop", 0), Generation((4,), (-1.0,), "length", 0)]
    samples = [Sample(Task("one", "")), Sample(Task("two", ""))]
    return collate([[2], [2, 2]], made, samples, [], pad_id=0)


def test_terms_add_up_on_completions_only(batch):
    total, metrics = sum_of_terms({"acme/a": Constant(2.0), "acme/b": Constant(-0.5)}, batch)
    assert total.tolist() == [[0.0, 1.5, 1.5], [0.0, 0.0, 1.5]]
    assert metrics == {
        "advantage/a": 2.0,
        "advantage/a/abs": 2.0,
        "advantage/b": -0.5,
        "advantage/b/abs": 0.5,
    }


@pytest.mark.parametrize(
    ("term", "said"),
    [
        (Constant(1.0, width=1), r"advantage 'acme/a' has shape \[2, 1\], expected \[2, 3\]"),
        (Constant(float("nan")), "advantage 'acme/a' is not finite on task 'one'"),
    ],
)
def test_a_term_that_breaks_its_contract_is_named_with_its_owner(batch, term, said):
    with pytest.raises(PluginError, match=said) as caught:
        sum_of_terms({"acme/a": term}, batch)
    assert caught.value.owner == "acme"


def test_a_term_named_twice_is_an_error(tmp_path: Path):
    context = StageContext(toy_job("x/y", {}, tmp_path, domains=[]), toy_registry(), lambda event: None)
    with pytest.raises(ConfigError, match="names outcome twice"):
        build_terms(context, [Use(use="outcome"), Use(use="outcome")])


def test_a_batch_is_laid_out_right_padded_and_rows_can_be_taken_from_it(batch):
    assert batch.token_ids.tolist() == [[2, 3, 1], [2, 2, 4]]
    assert batch.completion_mask.tolist() == [[False, True, True], [False, False, True]]
    assert batch.behaviour.tolist() == [[0.0, -0.5, -0.25], [0.0, 0.0, -1.0]]
    assert batch.truncated.tolist() == [False, True]
    both = batch.select([1, 0])
    assert [sample.task.id for sample in both.samples] == ["two", "one"]
    assert both.behaviour.tolist() == [[0.0, 0.0, -1.0], [0.0, -0.5, -0.25]]


def test_taken_rows_are_cut_to_their_longest():
    made = [Generation((3,), (-0.5,), "stop", 0), Generation((4,) * 6, (-1.0,) * 6, "length", 0)]
    batch = collate([[2], [2]], made, [Sample(Task("one", "")), Sample(Task("two", ""))], [], pad_id=0)
    batch.teacher_hidden = [torch.zeros(1, 4), torch.ones(6, 4)]
    assert batch.select([0]).token_ids.tolist() == [[2, 3]]
    assert batch.select([1]).teacher_hidden[0].shape == (6, 4)
    assert len(batch.select([1, 0, 1])) == 3
