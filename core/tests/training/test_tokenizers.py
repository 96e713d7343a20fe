"""Text to ids and back; when two tokenizers are the same one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from collegium import DataError
from collegium.training.model_spec import TokenizerSpec
from collegium.training.tokenizers import (
    TokenizerIdentity,
    build_tokenizer,
    character_tokenizer,
    decode_completion,
    encode_completion,
    encode_prompt,
)

TEMPLATE = (
    "{% for m in messages %}{{ m['role'][0] }}{{ m['content'] }};{% endfor %}{% if add_generation_prompt %}a{% endif %}"
)


def test_characters_survive_the_way_there_and_back():
    tokenizer = character_tokenizer("abc \n")
    ids = encode_prompt(tokenizer, "ab \n  c")
    assert tokenizer.decode(ids) == "ab \n  c"
    assert ids == [2, 3, 5, 6, 5, 5, 4]


def test_a_character_outside_the_alphabet_is_an_error_that_names_it():
    with pytest.raises(DataError, match=r"'z'.*not in the tokenizer's alphabet"):
        encode_prompt(character_tokenizer("abc"), "abz")


@pytest.mark.parametrize(("alphabet", "found"), [("abca", "repeats 'a'"), ("", "is empty")])
def test_an_alphabet_must_list_each_character_once(alphabet, found):
    with pytest.raises(DataError, match=found):
        character_tokenizer(alphabet)


def test_a_completion_ends_with_end_of_sequence_and_its_text_does_not_show_it():
    tokenizer = character_tokenizer("abc")
    ids = encode_completion(tokenizer, "ab")
    assert ids == [2, 3, tokenizer.eos_token_id]
    assert decode_completion(tokenizer, ids, frozenset({tokenizer.eos_token_id})) == "ab"


def test_special_tokens_inside_a_completion_stay_visible():
    tokenizer = character_tokenizer("abc")
    assert decode_completion(tokenizer, [2, tokenizer.pad_token_id, 3], frozenset({1})) == "a<pad>b"


def test_messages_are_rendered_by_the_chat_template_up_to_the_assistants_turn():
    tokenizer = character_tokenizer("abcu;")
    tokenizer.chat_template = TEMPLATE
    ids = encode_prompt(tokenizer, ({"role": "user", "content": "bc"},))
    assert tokenizer.decode(ids) == "ubc;a"


def test_messages_without_a_chat_template_are_an_error():
    with pytest.raises(DataError, match="chat template"):
        encode_prompt(character_tokenizer("abc"), ({"role": "user", "content": "bc"},))


def test_a_saved_tokenizer_is_the_same_one(tmp_path: Path):
    tokenizer = character_tokenizer("abc \n")
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert TokenizerIdentity.of(tokenizer).difference(TokenizerIdentity.of(loaded)) is None
    assert build_tokenizer(TokenizerSpec(path=str(tmp_path))).encode("a b") == tokenizer.encode("a b")
    assert build_tokenizer(TokenizerSpec(path=str(tmp_path / "tokenizer.json"))).encode("a b") == tokenizer.encode(
        "a b"
    )


def test_a_missing_tokenizer_file_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match=r"tokenizer '.*nowhere' cannot be loaded"):
        build_tokenizer(TokenizerSpec(path=str(tmp_path / "nowhere")))


def test_two_tokens_that_change_places_make_another_tokenizer():
    one, other = (TokenizerIdentity.of(character_tokenizer(text)) for text in ("abc", "acb"))
    assert one.difference(other) == "token id 3 is 'b' here and 'c' there"
    assert one.vocabulary_hash != other.vocabulary_hash


def test_a_longer_vocabulary_is_the_same_only_if_the_rest_is_padding():
    one = TokenizerIdentity.of(character_tokenizer("abc"))
    padded = replace(one, tokens={**one.tokens, 5: "<extra_0>", 6: "<|reserved_1|>"})
    longer = replace(one, tokens={**one.tokens, 5: "d"})
    assert one.difference(padded) is None
    assert one.difference(longer) == "token id 5 ('d') exists only there"


def test_end_of_sequence_and_chat_template_count():
    one = TokenizerIdentity.of(character_tokenizer("abc"))
    assert "eos_token is '<eos>' here and 'a' there" in (
        one.difference(replace(one, special={**one.special, "eos_token": "a"})) or ""
    )
    assert "chat templates differ" in (one.difference(replace(one, chat_template=TEMPLATE)) or "")


def test_a_text_that_is_a_token_of_its_own_stays_one_through_a_file(tmp_path: Path):
    spec = TokenizerSpec(characters="abc>", tokens=("<think>",), chat_template=TEMPLATE)
    tokenizer = build_tokenizer(spec)
    tokenizer.save_pretrained(str(tmp_path))
    read = AutoTokenizer.from_pretrained(str(tmp_path))
    for each in (tokenizer, read):
        assert encode_prompt(each, "a<think>b") == [2, 6, 3]
        assert decode_completion(each, encode_completion(each, "<think>c"), frozenset({1})) == "<think>c"
    assert TokenizerIdentity.of(tokenizer).difference(TokenizerIdentity.of(read)) is None


def test_a_token_that_the_alphabet_has_already_is_refused():
    with pytest.raises(DataError, match="which the tokenizer has already"):
        build_tokenizer(TokenizerSpec(characters="abc", tokens=("a",)))


def test_a_last_message_of_the_assistant_begins_its_answer():
    tokenizer = build_tokenizer(TokenizerSpec(characters="uabc;", chat_template=TEMPLATE))
    asked = ({"role": "user", "content": "b"},)
    begun = (*asked, {"role": "assistant", "content": "c"})
    assert tokenizer.decode(encode_prompt(tokenizer, asked)) == "ub;a"
    assert tokenizer.decode(encode_prompt(tokenizer, begun)) == "ub;ac"
