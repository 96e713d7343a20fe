"""A server's log-probs are those of the checkpoint that it serves, whatever its format; each sequence is sent once."""

from __future__ import annotations

import threading

import pytest
import torch

from collegium.builtin_components.teacher import CheckpointTeacher
from collegium.errors import TeacherError

FORMATS = pytest.mark.parametrize("form", ["vllm", "sglang"])


def local_logprobs(checkpoint, batch):
    teacher = CheckpointTeacher({"path": str(checkpoint)})
    teacher.open()
    return teacher.logprobs(batch)


@FORMATS
def test_log_probs_equal_those_of_the_local_checkpoint(teacher, checkpoint, batch, form):
    served = teacher(format=form, sequences_per_request=3)
    served.open()
    found, expected = served.logprobs(batch), local_logprobs(checkpoint, batch)
    assert found.dtype == torch.float32
    assert found.shape == batch.token_ids.shape
    assert torch.allclose(found, expected, atol=1e-5)
    assert float(expected[batch.completion_mask].std()) > 0.5  # the comparison means something
    assert not found[~batch.completion_mask].any()


@FORMATS
def test_each_distinct_sequence_is_sent_once_and_without_padding(teacher, server, batch, form):
    served = teacher(format=form, sequences_per_request=4)
    served.open()
    scores = served.logprobs(batch)
    key = "prompt" if form == "vllm" else "input_ids"
    sent = [tuple(tokens) for request in server.requests() for tokens in request.body[key]]
    rows = [tuple(row[real].tolist()) for row, real in zip(batch.token_ids, batch.attention_mask, strict=True)]
    assert len(sent) == 9
    assert set(sent) == set(rows)
    assert torch.equal(scores[-1], scores[-2])
    assert all(len(request.body[key]) <= 4 for request in server.requests())


@FORMATS
def test_tokens_between_trained_ones_stay_zero_and_rows_without_any_are_not_sent(
    teacher, server, checkpoint, batch, form
):
    batch.completion_mask[0] = False
    batch.completion_mask[1] = batch.attention_mask[1]
    batch.completion_mask[1, 0] = False
    batch.completion_mask[1, 2] = False  # a tool's answer within the completion
    served = teacher(format=form)
    served.open()
    found = served.logprobs(batch)
    assert torch.allclose(found, local_logprobs(checkpoint, batch), atol=1e-5)
    assert found[1, 2] == 0
    (request,) = server.requests()
    assert len(request.body["prompt" if form == "vllm" else "input_ids"]) == 8


@FORMATS
def test_rows_that_differ_only_in_what_is_trained_share_one_request(teacher, server, make_batch, form):
    tokens = [3, 4, 5, 6]
    served = teacher(format=form)
    served.open()
    found = served.logprobs(make_batch([(tokens[:3], tokens[3:]), (tokens[:1], tokens[1:])]))
    assert len(server.requests()[0].body["prompt" if form == "vllm" else "input_ids"]) == 1
    assert found[0].tolist() == [0, 0, 0, found[1, 3].item()]
    assert bool((found[1, 1:] < 0).all())


def test_the_last_id_of_the_vocabulary_which_sglang_echoes_as_0_is_scored(teacher, checkpoint, make_batch, server):
    last = len(server.model.head) - 1
    batch = make_batch([([3, last], [4, last, 5])])
    served = teacher(format="sglang")
    served.open()
    assert torch.allclose(served.logprobs(batch), local_logprobs(checkpoint, batch), atol=1e-5)


def test_a_batch_without_trained_tokens_asks_nothing(teacher, server, batch):
    batch.completion_mask[:] = False
    served = teacher()
    served.open()
    assert not served.logprobs(batch).any()
    assert not server.requests()


def test_a_trained_first_token_is_refused(teacher, batch):
    batch.completion_mask[0, 0] = True
    served = teacher()
    served.open()
    with pytest.raises(TeacherError, match="first token is a trained one"):
        served.logprobs(batch)


def test_no_more_requests_than_asked_for_are_under_way(teacher, server, batch):
    server.meeting, server.pause_s = threading.Barrier(3), 0.05
    served = teacher(concurrency=3, sequences_per_request=1)
    served.open()
    served.logprobs(batch)
    assert len(server.requests()) == 9
    assert max(request.at_once for request in server.requests()) == 3


@pytest.mark.parametrize("sent", [float("-inf"), -9999.0, -9999, -1e300])
def test_minus_infinity_is_a_log_prob_also_as_vllm_spells_it(teacher, server, servers, make_batch, sent):
    def forbid(reply):
        reply["choices"][0]["prompt_logprobs"][2]["5"]["logprob"] = sent
        return reply

    server.fail(servers.Behaviour(change=forbid))
    served = teacher()
    served.open()
    assert served.logprobs(make_batch([([3, 4], [5])])).tolist() == [[0, 0, float("-inf")]]


def test_a_very_small_probability_is_none_of_0(teacher, server, servers, make_batch):
    def nearly_forbid(reply):
        reply["choices"][0]["prompt_logprobs"][2]["5"]["logprob"] = -9998.5
        return reply

    server.fail(servers.Behaviour(change=nearly_forbid))
    served = teacher()
    served.open()
    assert served.logprobs(make_batch([([3, 4], [5])])).tolist() == [[0, 0, -9998.5]]


def test_waits_and_requests_leave_the_random_numbers_of_the_run_alone(teacher, server, servers, checkpoint, batch):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    server.fail(servers.Behaviour(status=503))
    served = teacher(checkpoint=str(checkpoint))
    served.open()
    served.logprobs(batch)
    assert torch.equal(torch.rand(3), expected)


def test_a_closed_teacher_says_so_and_opens_again_without_another_handshake(teacher, server, batch):
    served = teacher()
    with pytest.raises(TeacherError, match="is closed"):
        served.logprobs(batch)
    served.open()
    first = served.logprobs(batch)
    greetings = len(server.requests("/v1/models", "/tokenize", "/health"))
    served.close()
    served.close()
    served.open()
    assert torch.equal(served.logprobs(batch), first)
    assert len(server.requests("/v1/models", "/tokenize", "/health")) == greetings


def test_hidden_states_are_not_offered(teacher, batch):
    with pytest.raises(NotImplementedError, match="sampled-token"):
        teacher().hidden_states(batch)
