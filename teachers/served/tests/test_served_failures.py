"""What a server that is slow, fails, hangs up or lies costs: a repeated request, or one clear error; never a guess."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from collegium.endpoints import retry_after
from collegium.errors import TeacherError

OWNER = "collegium-teacher-served"


def scored(teacher, batch, **options):
    """Open a teacher and score; the error, if there is one, is the scoring's."""
    served = teacher(**options)
    served.open()
    return served.logprobs(batch)


def refused(teacher, batch, match, **options):
    """Return the error of scoring."""
    served = teacher(**options)
    served.open()
    with pytest.raises(TeacherError, match=match) as caught:
        served.logprobs(batch)
    assert caught.value.owner == OWNER
    assert served.config.url in str(caught.value)
    return caught.value


TRANSIENT = {
    "a 500": {"status": 500, "raw": b"engine restarting"},
    "a 503": {"status": 503, "headers": {"Retry-After": "0"}},
    "a 429": {"status": 429},
    "a 408": {"status": 408},
    "a dropped connection": {"drop": True},
    "a truncated body": {"cut": True},
}


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_a_request_is_repeated_after(teacher, server, servers, batch, fault):
    honest = scored(teacher, batch)
    server.fail(servers.Behaviour(**fault), servers.Behaviour(**fault))
    before = len(server.requests())
    assert scored(teacher, batch, sequences_per_request=64).equal(honest)
    assert len(server.requests()) - before == 3


def test_a_server_that_stays_silent_costs_the_time_of_a_request_and_is_asked_again(teacher, server, servers, batch):
    honest = scored(teacher, batch)
    server.fail(servers.Behaviour(hang=True))
    assert scored(teacher, batch, request_s=0.5).equal(honest)


@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_a_server_that_never_finishes_a_reply_is_given_up(teacher, server, servers, batch, fault):
    server.always["/v1/completions"] = servers.Behaviour(**{fault: True})
    error = refused(teacher, batch, r"no reply within 0\.2 s", request_s=0.2, retries=1, sequences_per_request=64)
    assert "try 2 of 2" in str(error)
    assert len(server.requests()) == 2


def test_the_whole_batch_has_a_time_limit(teacher, server, servers, batch):
    server.always["/v1/completions"] = servers.Behaviour(hang=True)
    error = refused(teacher, batch, r"did not finish within batch_s = 0\.5 s", batch_s=0.5)
    assert "0 requests answered in 2 tries" in str(error)


def test_500s_without_end_open_the_breaker_and_then_fail_with_what_came_back(teacher, server, servers, batch):
    server.always["/v1/completions"] = servers.Behaviour(status=500, raw=b"out of memory")
    error = refused(teacher, batch, "stays down: 5 failed tries in a row", concurrency=1, sequences_per_request=1)
    assert "it answered 500: Internal Server Error out of memory" in str(error)
    assert "2 cool-downs" in str(error)
    assert len(server.requests()) == 5  # three failures, then one try after each cool-down


def test_while_the_breaker_is_open_one_request_at_a_time_tries(teacher, server, servers, batch):
    server.pause_s = 0.02
    server.fail(*[servers.Behaviour(status=500)] * 7)
    breaker = {"failures": 3, "cool_down_s": 0.2, "cool_downs": 6}
    found = scored(teacher, batch, breaker=breaker, concurrency=3, sequences_per_request=1, retries=20)
    assert (found[batch.completion_mask] < 0).all()
    # two requests may have been under way when the third failure opened it
    assert [request.at_once for request in server.requests()[5:8]] == [1, 1, 1]


def test_the_breaker_closes_after_one_success(teacher, server, servers, batch):
    bad, good = servers.Behaviour(status=500), servers.Behaviour()
    server.fail(bad, bad, bad, good, bad, bad, good)
    found = scored(teacher, batch, concurrency=1, sequences_per_request=3)
    assert (found[batch.completion_mask] < 0).all()


def test_a_busy_server_does_not_open_the_breaker(teacher, server, servers, batch):
    server.fail(*[servers.Behaviour(status=429)] * 9)
    breaker = {"failures": 1, "cool_down_s": 1000.0}
    found = scored(teacher, batch, breaker=breaker, retries=9, sequences_per_request=64)
    assert (found[batch.completion_mask] < 0).all()


def test_retry_after_is_kept_and_one_beyond_the_batch_fails_at_once(teacher, server, servers, batch):
    server.fail(servers.Behaviour(status=429, headers={"Retry-After": "3600"}))
    error = refused(teacher, batch, "it answered 429")
    assert "the next try would be in 3600 s" in str(error)
    assert len(server.requests()) <= 2


def test_retry_after_is_read_as_seconds_or_date():
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert retry_after("7", now) == 7
    assert retry_after(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert [retry_after(value, now) for value in (None, "soon", "-3", "")] == [0, 0, 0, 0]


def test_a_server_that_is_not_there_is_an_error_that_names_it(teacher, batch, server, servers, checkpoint):
    with servers.serving(server.model) as other:
        url = other.url
    served = teacher(url=url, retries=1)
    with pytest.raises(TeacherError, match=r"connection failed \(ConnectError\)") as caught:
        served.open()
    assert url in str(caught.value)


def change_first(found):
    """Return a change of the first choice's log-probs."""

    def change(reply):
        choice = next(choice for choice in reply["choices"] if choice["index"] == 0)
        choice["prompt_logprobs"] = found(choice["prompt_logprobs"])
        return reply

    return change


def with_last(value):
    return change_first(lambda entries: [*entries[:-1], {key: {"logprob": value} for key in entries[-1]}])


MALFORMED = {
    "one too few": (change_first(lambda entries: entries[:-1]), "2 prompt_logprobs for 3 tokens"),
    "one too many": (change_first(lambda entries: [*entries, entries[-1]]), "4 prompt_logprobs for 3 tokens"),
    "an empty list": (change_first(lambda _: []), "0 prompt_logprobs for 3 tokens"),
    "null for the list": (change_first(lambda _: None), "no list of prompt_logprobs: found null"),
    "null for a token": (change_first(lambda entries: [*entries[:-1], None]), "no log-prob at position 2: found null"),
    "a first token with a log-prob": (change_first(lambda entries: [entries[1], *entries[1:]]), "may be shifted"),
    "NaN": (with_last(math.nan), "position 2 that is positive or not a number: found nan"),
    "a positive one": (with_last(0.5), "positive or not a number: found 0.5"),
    "infinity": (with_last(math.inf), "positive or not a number: found inf"),
    "a huge negative integer": (with_last(-(10**400)), "positive or not a number"),
    "text": (with_last("-1.0"), "no number as the log-prob at position 2: found '-1.0'"),
    "true": (with_last(True), "no number as the log-prob"),
    "null": (with_last(None), "no number as the log-prob at position 2: found null"),
    "another token": (
        change_first(lambda entries: [*entries[:-1], {"9": {"logprob": -1.0}}]),
        r"another token than 5, which was sent, at position 2: found \['9'\]",
    ),
    "too few choices": (lambda reply: {"choices": reply["choices"][1:]}, "1 choices for 2 sequences"),
    "too many choices": (lambda reply: {"choices": reply["choices"] * 2}, "4 choices for 2 sequences"),
    "a choice twice": (lambda reply: {"choices": reply["choices"][:1] * 2}, "whose indices are not 0 to 1"),
    "a list as index": (
        lambda reply: {"choices": [{**choice, "index": [0]} for choice in reply["choices"]]},
        "whose indices are not 0 to 1",
    ),
    "no choices": (lambda reply: {"error": "overloaded"}, "no list of choices: found null"),
    "a list": (lambda reply: [reply], "no list of choices"),
    "choices that are text": (lambda reply: {"choices": ["a", "b"]}, "no list of choices"),
}


@pytest.mark.parametrize(("change", "match"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_reply_is_an_error_at_once(teacher, server, servers, make_batch, change, match):
    server.always["/v1/completions"] = servers.Behaviour(change=change)
    refused(teacher, make_batch([([3, 4], [5]), ([4], [3])]), match)
    assert len(server.requests()) == 1


def sglang(change):
    def changed(reply):
        change(reply[0]["meta_info"])
        return reply

    return changed


MALFORMED_SGLANG = {
    "wrong length": (sglang(lambda meta: meta["input_token_logprobs"].pop()), "1 input_token_logprobs for 2 tokens"),
    "no list": (sglang(lambda meta: meta.pop("input_token_logprobs")), "no list of input_token_logprobs"),
    "shifted": (sglang(lambda meta: meta["input_token_logprobs"][0].__setitem__(0, -1.0)), "may be shifted"),
    "null": (sglang(lambda meta: meta["input_token_logprobs"][1].__setitem__(0, None)), "position 2: found null"),
    "another token": (sglang(lambda meta: meta["input_token_logprobs"][1].__setitem__(1, 9)), "another token than 5"),
    "0 for a token": (sglang(lambda meta: meta["input_token_logprobs"][1].__setitem__(1, 0)), "another token than 5"),
    "no triple": (sglang(lambda meta: meta["input_token_logprobs"].__setitem__(1, -1.0)), "no log-prob at position 2"),
    "aborted": (
        sglang(lambda meta: meta.update(finish_reason={"type": "abort", "message": "out of pages"})),
        "an aborted sequence: found 'out of pages'",
    ),
    "no meta_info": (lambda reply: [{}, *reply[1:]], "no meta_info"),
    "one item": (lambda reply: reply[:1], "1 items for 2 sequences"),
    "an object": (lambda reply: reply[0], "no list of items"),
}


@pytest.mark.parametrize(("change", "match"), MALFORMED_SGLANG.values(), ids=MALFORMED_SGLANG)
def test_a_malformed_reply_of_sglang_is_an_error_at_once(teacher, server, servers, make_batch, change, match):
    server.always["/generate"] = servers.Behaviour(change=change)
    refused(teacher, make_batch([([3, 4], [5]), ([4], [3])]), match, format="sglang")
    assert len(server.requests()) == 1


REFUSALS = {
    "a 400": ({"status": 400, "raw": b'{"error": "longer than the context"}'}, "it answered 400: .*longer than"),
    "a body that is not JSON": ({"raw": b"<html>sign in</html>"}, "not JSON: <html>sign in"),
    "deeply nested JSON": ({"raw": b"[" * 100_000}, "not JSON"),
    "an empty body": ({"raw": b""}, "not JSON"),
    "a compressed body": ({"headers": {"Content-Encoding": "gzip"}}, "is compressed"),
    "an endless body": ({"raw": b" " * 1_200_000}, "more than 10[0-9]+ bytes"),
    "a redirect": ({"status": 307, "headers": {"Location": "http://127.0.0.1:1/"}}, "a redirect, .*not followed"),
}


@pytest.mark.parametrize(("fault", "match"), REFUSALS.values(), ids=REFUSALS)
def test_what_no_repetition_would_mend_is_an_error_at_once(teacher, server, servers, batch, fault, match):
    server.always["/v1/completions"] = servers.Behaviour(**fault)
    refused(teacher, batch, match, sequences_per_request=64)
    assert len(server.requests()) == 1


def test_one_failed_request_of_many_leaves_no_partial_result(teacher, server, servers, batch):
    server.fail(servers.Behaviour(), servers.Behaviour(), servers.Behaviour(status=400))
    refused(teacher, batch, "it answered 400", sequences_per_request=2, concurrency=1)
    assert len(server.requests()) == 3


def test_rows_with_pictures_are_refused_before_anything_is_sent(teacher, server, batch):
    batch.samples = [replace(each, task=replace(each.task, images=(b"a picture",))) for each in batch.samples]
    refused(teacher, batch, "is sent token ids alone, and 10 rows have pictures")
    assert server.requests() == []
