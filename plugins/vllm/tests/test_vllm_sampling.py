"""Requests that cannot be completed are refused, and answers that are none are malformed."""

from __future__ import annotations

import pytest

from collegium import EngineError, SamplingParams
from collegium_vllm.sampling import Answer, Request, check_requests, generation_of

STOP = 1
REQUEST = Request((2, 3), SamplingParams(max_tokens=3), 5, (STOP,))


def generation(ids, logprobs=None, reason="length", request=REQUEST):
    return generation_of(request, Answer(ids, [-1.0] * len(ids) if logprobs is None else logprobs, reason), 7)


def test_the_stop_token_stays_at_the_end():
    made = generation([4, STOP], reason="stop")
    assert (made.token_ids, made.logprobs, made.finish_reason, made.weight_version) == ((4, STOP), (-1, -1), "stop", 7)


def test_a_stop_token_as_the_last_that_fits_is_a_stop():
    assert generation([4, 4, STOP], reason="stop").finish_reason == "stop"


def test_without_one_the_limit_ends_it():
    assert generation([4, 4, 4]).finish_reason == "length"


def test_greedy_is_sure_of_its_tokens():
    greedy = Request((2,), SamplingParams(max_tokens=3, temperature=0.0), 5, (STOP,))
    assert generation([4, 4, 4], request=greedy).logprobs == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("ids", "logprobs", "reason"),
    [
        ([], [], "stop"),
        ([4, 4, -4], None, "length"),
        ([4, 4, "4"], None, "length"),
        ([4, 4, 4.0], None, "length"),
        ([4, 4, True], None, "length"),
        ([4, 4, 4], [-1.0, -1.0], "length"),
        ([4, 4, 4], [-1.0, None, -1.0], "length"),
        ([4, 4, 4], [-1.0, float("nan"), -1.0], "length"),
        ([4, 4, 4], [-1.0, float("-inf"), -1.0], "length"),
        ([4, 4, 4], [-1.0, 0.5, -1.0], "length"),
        ([4, 4, 4, 4], None, "length"),
        ([4, 4], None, "length"),
        ([4, 4], None, "stop"),
        ([4, STOP], None, "length"),
        ([STOP, 4, 4], None, "length"),
        ([4, 4, 4], None, "abort"),
        ([4, 4, 4], None, None),
    ],
)
def test_a_malformed_answer_is_an_error(ids, logprobs, reason):
    with pytest.raises(EngineError, match="malformed") as caught:
        generation(ids, logprobs, reason)
    assert caught.value.owner == "collegium-vllm"


@pytest.mark.parametrize(
    ("prompts", "options", "seeds", "message"),
    [
        ([[2], []], {}, [1, 2], r"prompts \[1\] have no token"),
        ([[2], [3]], {}, [1], "2 prompts come with 1 seeds"),
        ([[2] * 30], {}, [1], "a prompt of 30 tokens and 3 sampled ones exceed the context of 32"),
        ([[2]], {"temperature": 0.001}, [1], "does not sample at temperature 0.001"),
        ([[2]], {"top_p": 0.9, "keep_mask": True}, [1], "does not tell which ids top_p kept"),
    ],
)
def test_what_cannot_be_completed_is_refused(prompts, options, seeds, message):
    with pytest.raises(EngineError, match=message):
        check_requests(prompts, SamplingParams(max_tokens=3, **options), seeds, room=32)


def test_what_just_fits_is_not():
    check_requests([[2] * 29], SamplingParams(max_tokens=3), [2**63 - 1], room=32)
