"""The further constraints: what meets each, what does not, and what only nearly does."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium import Completion, Task
from collegium_verifier_instructions.registry import _CHECKS, bind, known_ids
from collegium_verifier_instructions.verifier import InstructionsVerifier

TABLE = [
    ("word_count_range", {"min_words": 2, "max_words": 3}, ["one two", "a b c"], ["one", "a b c d", ""]),
    ("unique_words", {"at_least": 3}, ["red green blue", "Red red green blue"], ["red Red RED green", ""]),
    ("max_word_repeats", {"most": 2}, ["a b a", "a"], ["a b a A", ""]),
    ("no_word_twice_in_a_row", {}, ["the cat the", "one"], ["the the cat", "The the", ""]),
    ("palindromes", {"at_least": 2, "length": 3}, ["Anna saw a level kayak"], ["level level", "a b c I", "anna", ""]),
    ("alphabetical_words", {}, ["yes zebras are", "All big cats"], ["All cats", "All", "1 2 3", ""]),
    ("keyword_position", {"keyword": "cat", "sentence": 2, "word": 3}, ["Yes. See the Cat now."], ["See the cat. No.", "Yes. The cat is.", "Yes."]),
    ("keyword_in_sentence", {"keyword": "sea", "sentence": 1}, ["The Sea is big. Yes."], ["It is. The sea.", "Seashells.", ""]),
    ("sentence_length", {"max_words": 3}, ["One two three. Four!"], ["One two three four.", ""]),
    ("sentences_begin_differently", {}, ["Ants run. Bees fly."], ["Ants run. All fly.", "Ants run.", ""]),
    ("numbers", {"exactly": 2}, ["1,234.5 and -3", "2 of 3 a1"], ["1 2 3", "one two", "1.2.3 4"]),
    ("stop_word_share", {"most_percent": 25}, ["Green ideas sleep", "the big red dog"], ["the dog is big", ""]),
    ("punctuation_variety", {"marks": ["!", ";"]}, ["No; yes!"], ["No! Yes!", ""]),
    ("line_indent", {"step": 2}, ["a\n  b\n\n    c"], ["a\n  b\n  c", "a", "a\n\tb", ""]),
    ("nested_brackets", {"depth": 2}, ["a (b [c])"], ["(a)", "(a [b)]", "((a)", "a))((", ""]),
    ("title_case", {}, ["The Lord of the Rings", "Two\nThe Towers"], ["the Rings", "The rings", "123", ""]),
    ("no_white_space", {}, ["abc", " abc\n"], ["a b", "a\nb"]),
    ("csv", {"columns": 2, "rows": 2}, ['a,b\n"c,d",e'], ["a,b", "a,b\nc", 'a,"b\nc,d', ""]),
    ("headings_in_order", {"headings": ["Why", "How"]}, ["## Why\nBecause.\n## How\nSo."], ["How\na\nWhy\nb", "Why\nHow\nx", "Why a\nWhy b\nHow c", ""]),
    ("sub_bullets", {"at_least": 1}, ["- a\n  - b\n- c\n  - d"], ["- a\n- b", "- a\n  - b\n- c", "a", ""]),
    ("emojis", {"at_least": 2}, ["\U0001f600 and \U0001f680"], ["\U0001f600", ":-) :-)", ""]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "met", "unmet"), TABLE, ids=[row[0] for row in TABLE])
def test_each_holds_where_it_should_and_nowhere_else(name, kwargs, met, unmet):
    check = bind(f"extra:{name}", kwargs)
    assert [text for text in met if not check(text)] == []
    assert [text for text in unmet if check(text)] == []


def test_every_further_constraint_is_in_the_table():
    assert {f"extra:{row[0]}" for row in TABLE} == {name for name in known_ids() if name.startswith("extra:")}


@pytest.mark.parametrize(
    ("name", "kwargs"), [("csv", {"columns": 1, "rows": 1, "delimiter": ",,"}), ("punctuation_variety", {"marks": []})]
)
def test_arguments_that_mean_nothing_are_refused(name, kwargs):
    with pytest.raises(ValueError, match="must be"):
        bind(f"extra:{name}", kwargs)("text")


def test_the_readmes_own_constraint_works_as_written(tmp_path, monkeypatch):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = readme.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "acme_constraints.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    verifier = InstructionsVerifier({"constraint_modules": ["acme_constraints"]})
    data = {"instruction_id_list": ["acme:max_exclamations"], "kwargs": [{"most": 1}]}
    verdicts = [verifier.verify(Completion(text), Task("t", "?", data=data)) for text in ("Yes!", "Yes!!")]
    assert [verdict.value for verdict in verdicts] == [1.0, 0.0]
    _CHECKS.pop("acme:max_exclamations")
