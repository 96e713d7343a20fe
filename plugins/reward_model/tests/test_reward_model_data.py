"""Rankings: read strictly, split by prompt, and compared by length."""

import json

import pytest

from collegium import DataError
from collegium_reward_model.preferences import Preference, length_accuracy
from collegium_reward_model.rankings import Ranking, read_rankings, split_by_prompt


@pytest.fixture
def file_of(tmp_path):
    def write(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def test_pairs_and_rankings_are_read_from_one_file(file_of):
    chat = [{"role": "user", "content": "hi"}]
    path = file_of(
        {"prompt": "a", "chosen": "x", "rejected": "y", "margin": "slightly"},
        {"prompt": chat, "completions": ["x", "y", "z"], "margin": 0.5},
    )
    first, second = read_rankings(path, margins="small")
    assert (first.prompt, first.completions, first.margin) == ("a", ("x", "y"), pytest.approx(1 / 3))
    assert (second.prompt_text, second.completions, second.margin) == ("hi", ("x", "y", "z"), 0.5)
    assert second.name == "rows.jsonl:2"


def test_a_prompt_may_be_several_fields(file_of):
    rows = [
        {"instruction": "Say it", "input": "now", "chosen": "x", "rejected": "y"},
        {"instruction": "Say it", "input": "", "chosen": "x", "rejected": "y"},
    ]
    read = read_rankings(file_of(*rows), prompt_fields=["instruction", "input"])
    assert [each.prompt for each in read] == ["Say it\nnow\n", "Say it\n"]


def test_rows_of_instruction_data_sets_stand_beside_others(file_of):
    pair = {"chosen": "x", "rejected": "y"}
    rows = [{"prompt": "p", **pair}, {"instruction": "Say it", "input": "now", **pair}, {"instruction": "Say", **pair}]
    assert [each.prompt for each in read_rankings(file_of(*rows))] == ["p", "Say it\nnow\n", "Say\n"]
    with pytest.raises(DataError, match=r"rows\.jsonl:1: instruction and input must be texts"):
        read_rankings(file_of({"instruction": "Say", "input": None, **pair}))


def test_a_data_artifacts_folder_is_read_by_its_pairs(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "x", "rejected": "y"}\n')
    assert [each.completions for each in read_rankings(tmp_path)] == [("x", "y")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a", "chosen": "x"}, 'expected "chosen" and "rejected"'),
        ({"prompt": "a", "completions": ["x"]}, "two or more texts, best first"),
        ({"chosen": "x", "rejected": "y"}, "no field 'prompt'"),
        ({"prompt": [], "chosen": "x", "rejected": "y"}, "the prompt must be text or one list of chat messages"),
        ({"prompt": [{"role": "user", "content": ["x"]}], "chosen": "x", "rejected": "y"}, "the prompt must be text"),
        ({"prompt": "a", "chosen": "x", "rejected": "y", "margin": "hugely"}, "'hugely' is neither"),
        ({"prompt": "a", "chosen": "x", "rejected": "y", "margin": -1}, "-1 is neither"),
        ({"prompt": "a", "chosen": "x", "rejected": "y", "margin": True}, "True is neither"),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(file_of, row, said):
    with pytest.raises(DataError, match=r"rows\.jsonl:1: ") as caught:
        read_rankings(file_of(row))
    assert said in str(caught.value)


def ranking(prompt: str) -> Ranking:
    return Ranking(prompt, ("x", "y"), None, prompt)


def test_no_prompt_is_on_both_sides_and_the_seed_decides_the_split():
    rows = [ranking(str(number % 20)) for number in range(60)]
    train, heldout = split_by_prompt(rows, 0.25, seed=1)
    assert {each.prompt for each in train} & {each.prompt for each in heldout} == set()
    assert (len(train), len(heldout)) == (45, 15)
    assert split_by_prompt(rows, 0.25, seed=1) == (train, heldout)
    assert split_by_prompt(rows, 0.25, seed=2) != (train, heldout)


def test_a_split_always_leaves_a_prompt_on_each_side():
    train, heldout = split_by_prompt([ranking("a"), ranking("b")], 0.001, seed=0)
    assert len(train) == len(heldout) == 1
    with pytest.raises(DataError, match="found 1 prompts"):
        split_by_prompt([ranking("a")], 0.5, seed=0)


def of_lengths(*lengths: int) -> Preference:
    return Preference(((1,),) * len(lengths), 0.0, "", lengths)


def test_length_alone_is_judged_in_the_direction_that_fits_the_training_pairs():
    longer = [of_lengths(5, 3), of_lengths(9, 2), of_lengths(1, 4)]
    shorter = [of_lengths(3, 5)]
    assert length_accuracy(longer, longer) == pytest.approx(2 / 3)
    assert length_accuracy(shorter, [of_lengths(1, 2, 3)]) == 1.0
    assert length_accuracy(longer, shorter) == 0.0
    assert length_accuracy(longer, [of_lengths(4, 4)]) == 0.5
