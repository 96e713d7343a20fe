"""The first opening makes sure that the server is well and serves the model, tokenizer and weights that are meant."""

from __future__ import annotations

import logging

import pytest
import torch

from collegium.errors import TeacherError
from collegium.testing.stages import toy_model
from collegium.training.tokenizers import TokenizerIdentity, character_tokenizer
from collegium_teacher_served.tokenizer_probe import probe_texts


def opening_fails(served, match):
    with pytest.raises(TeacherError, match=match) as caught:
        served.open()
    assert caught.value.owner == "collegium-teacher-served"
    assert caught.value.problems[0].fix
    return str(caught.value)


def test_the_identity_is_that_of_the_local_tokenizer_and_needs_no_server(teacher, checkpoint, server):
    served = teacher(url="http://127.0.0.1:1", tokenizer=None, checkpoint=str(checkpoint))
    assert served.identity() == TokenizerIdentity.of(server.tokenizer)
    assert not server.seen


def test_a_folder_without_a_tokenizer_is_refused(teacher, tmp_path):
    with pytest.raises(TeacherError, match="tokenizer of served teacher 'teacher' cannot be loaded"):
        teacher(tokenizer=str(tmp_path)).identity()


def test_a_server_that_is_still_starting_is_waited_for(teacher, server, servers):
    server.fail(servers.Behaviour(status=503), servers.Behaviour(status=503), path="/health")
    teacher().open()
    assert len(server.requests("/health")) == 3


def test_a_server_that_is_not_well_is_refused(teacher, server, servers):
    server.always["/health"] = servers.Behaviour(status=503, raw=b"engine is dead")
    opening_fails(teacher(retries=1), "it answered 503: Service Unavailable engine is dead")


def test_a_server_without_a_health_page_is_accepted(teacher, server):
    server.missing = {"/health"}
    teacher().open()


def test_another_model_is_refused_with_what_is_served(teacher, server):
    server.served = ["llama", "qwen"]
    opening_fails(teacher(), "does not serve 'teacher'; it serves: llama, qwen")


def test_a_server_without_a_list_of_models_is_refused(teacher, server, servers):
    server.missing = {"/v1/models"}
    opening_fails(teacher(), "it answered 404")
    server.missing = set()
    server.always["/v1/models"] = servers.Behaviour(raw=b'{"models": []}')
    opening_fails(teacher(), "lists no models")


def test_the_probe_texts_spell_the_whole_vocabulary(server):
    spelled = {token for probe in probe_texts(server.tokenizer) for token in probe.token_ids}
    assert spelled == set(server.tokenizer.get_vocab().values())


@pytest.mark.parametrize("form", ["vllm", "sglang"])
def test_another_tokenizer_is_refused_with_the_first_text_that_differs(teacher, server, form):
    letters = "".join(sorted(server.tokenizer.get_vocab(), key=server.tokenizer.get_vocab().get)[2:])
    swapped = letters.replace("c", "?").replace("d", "c").replace("?", "d")
    server.tokenizer = character_tokenizer(swapped)
    message = opening_fails(teacher(format=form), "another tokenizer than the folder")
    assert "is 'c' with the ids [4, 5, 6] here and [5, 4, 6] there" in message


def test_a_tokenizer_with_one_token_more_is_refused(teacher, server, servers):
    def more(reply):
        return {**reply, "tokens": [*reply["tokens"], 7]}

    server.always["/tokenize"] = servers.Behaviour(change=more)
    opening_fails(teacher(), r"with the ids \[\] here and \[7\] there")


def test_a_tokenizer_that_cannot_read_a_text_is_refused(teacher, server):
    server.tokenizer = character_tokenizer("abc")
    message = opening_fails(teacher(), "cannot read a text of the tokenizer's vocabulary, '<pad><eos>abcdef#~='")
    assert "it answered 400" in message


def test_a_server_that_offers_no_tokenizer_is_accepted_with_a_warning(teacher, server, caplog):
    server.missing = {"/tokenize"}
    with caplog.at_level(logging.WARNING):
        teacher().open()
    assert "its tokenizer is not compared" in caplog.text


@pytest.mark.parametrize("form", ["vllm", "sglang"])
def test_a_server_of_the_checkpoints_weights_is_accepted(teacher, server, checkpoint, form):
    teacher(checkpoint=str(checkpoint), tolerance=1e-4, format=form).open()
    assert server.requests()


def test_a_server_of_other_weights_is_refused_with_the_figures(teacher, server, checkpoint):
    server.model = toy_model(seed=4)
    message = opening_fails(teacher(checkpoint=str(checkpoint)), "does not serve checkpoint")
    assert "estimated KL of local to served" in message
    assert "at most 0.05 is allowed" in message


def test_weights_within_the_tolerance_are_accepted(teacher, server, checkpoint):
    with torch.no_grad():
        server.model.head.mul_(1.001)
    teacher(checkpoint=str(checkpoint), tolerance=0.05).open()
    opening_fails(teacher(checkpoint=str(checkpoint), tolerance=1e-5), "at most 1e-05 is allowed")


def test_the_probe_of_the_weights_is_always_the_same(teacher, server, checkpoint):
    for _ in range(2):
        teacher(checkpoint=str(checkpoint)).open()
        torch.rand(5)
    first, second = server.requests()
    assert first.body == second.body
    assert len({tuple(tokens) for tokens in first.body["prompt"]}) == 8


def test_a_folder_without_weights_is_refused_as_checkpoint(teacher, tmp_path):
    opening_fails(teacher(checkpoint=str(tmp_path)), "checkpoint of a served teacher cannot be used")


def test_a_failed_handshake_is_repeated_at_the_next_opening(teacher, server):
    served = teacher()
    server.served = ["llama"]
    opening_fails(served, "does not serve")
    server.served = ["teacher"]
    served.open()
