"""What chunking promises: no tensor of all rows times the vocabulary, forward or backward."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from collegium.training.divergence import exact_reverse_kl, topk_reverse_kl
from collegium.training.logprobs import token_logprobs

ROWS, WIDTH, VOCABULARY, CHUNK = 64, 6, 50, 8


class LargestTensor(TorchDispatchMode):
    """Record the number of elements of the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.elements = max(self.elements, *made, 0)
        return result


@pytest.fixture
def student():
    make = torch.Generator().manual_seed(3)
    hidden = torch.randn(ROWS, WIDTH, generator=make).requires_grad_()
    head = torch.randn(VOCABULARY, WIDTH, generator=make).requires_grad_()
    return hidden, head


@pytest.fixture
def teacher():
    make = torch.Generator().manual_seed(4)
    return torch.randn(ROWS, WIDTH, generator=make), torch.randn(VOCABULARY, WIDTH, generator=make)


TARGETS = torch.arange(ROWS) % VOCABULARY


def plain_logprobs(hidden, head):
    return (hidden @ head.T).log_softmax(-1).gather(1, TARGETS[:, None])


CHUNKED = {
    "log-probs": lambda student, teacher, chunk: token_logprobs(*student, TARGETS, chunk=chunk)[0],
    "exact reverse KL": lambda student, teacher, chunk: exact_reverse_kl(*student, *teacher, chunk=chunk)[0],
    "top-k reverse KL": lambda student, teacher, chunk: topk_reverse_kl(*student, *teacher, k=9, chunk=chunk)[0],
}


def largest_tensor(run):
    with LargestTensor() as largest:
        run().sum().backward()
    return largest.elements


def kept_for_backward(run):
    kept = []

    def record(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        run()
    return sum(kept)


@pytest.mark.parametrize("run", CHUNKED.values(), ids=CHUNKED)
def test_no_tensor_is_larger_than_the_logits_of_a_chunk(run, student, teacher):
    assert max(ROWS * WIDTH, VOCABULARY * WIDTH) <= CHUNK * VOCABULARY
    assert largest_tensor(lambda: run(student, teacher, CHUNK)) == CHUNK * VOCABULARY


@pytest.mark.parametrize("run", CHUNKED.values(), ids=CHUNKED)
def test_what_is_kept_for_the_backward_pass_is_the_inputs_alone(run, student, teacher):
    assert kept_for_backward(lambda: run(student, teacher, CHUNK)) == ROWS * WIDTH + VOCABULARY * WIDTH


def test_the_plain_computation_is_seen_to_hold_all_logits(student):
    assert largest_tensor(lambda: plain_logprobs(*student)) == ROWS * VOCABULARY
    assert kept_for_backward(lambda: plain_logprobs(*student)) > ROWS * VOCABULARY


def test_a_chunk_of_all_rows_is_seen_to_hold_all_logits(student, teacher):
    assert largest_tensor(lambda: CHUNKED["log-probs"](student, teacher, ROWS)) == ROWS * VOCABULARY
