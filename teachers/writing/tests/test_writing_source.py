"""The writing task source: splits, demonstrations, data files, and constraints that cannot be met by a trick."""

import gzip
import json
import operator
import os
import re
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import ValidationError

from collegium import Completion, DataError
from collegium_teacher_writing.source import WritingTasks
from collegium_teacher_writing.words import FILE

SHARED = Path(os.environ.get("COLLEGIUM_DATA") or Path(__file__).parents[3].parent / "shared" / "data")


@pytest.fixture
def own():
    return WritingTasks({"data": "generated"})


@pytest.fixture
def stories():
    if not (SHARED / FILE).exists() and not os.environ.get("CI"):
        pytest.skip("the real data is not here")
    return WritingTasks({"data": str(SHARED)})


@pytest.fixture(params=["own", "stories"])
def source(request):
    return request.getfixturevalue(request.param)


RELATIONS = {"at least": operator.ge, "less than": operator.lt}
CHECKS = {
    "keywords:existence": lambda text, keywords: all(re.search(word, text, re.IGNORECASE) for word in keywords),
    "length_constraints:number_words": lambda text, relation, num_words: RELATIONS[relation](
        len(re.findall(r"\w+", text)), num_words
    ),
    "change_case:capital_word_frequency": lambda text, capital_relation, capital_frequency: RELATIONS[capital_relation](
        sum(word.isupper() for word in re.findall(r"\w+", text)), capital_frequency
    ),
    "startend:quotation": lambda text: len(text) > 1 and text[0] == text[-1] == '"',
    "startend:end_checker": lambda text, end_phrase: text.strip('"').lower().endswith(end_phrase),
    "detectable_format:number_bullet_lists": lambda text, num_bullets: text.count("* ") == num_bullets,
}
"""What each instruction demands, written apart from the package and from any verifier."""


def follows(text, task):
    pairs = zip(task.data["instruction_id_list"], task.data["kwargs"], strict=True)
    return all(CHECKS[instruction](text, **kwargs) for instruction, kwargs in pairs)


def word_sets(tasks):
    return {frozenset(task.prompt.partition(",")[0].split()) for task in tasks}


def test_the_entry_point_offers_the_task_source_without_loading_it():
    (entry,) = (e for e in entry_points(group="collegium") if e.name == "writing")
    (component,) = entry.load().register_tasks()
    assert component.name == "writing"
    assert component.target == "collegium_teacher_writing.source:WritingTasks"


def test_no_heldout_combination_of_words_is_trained_on_in_any_order_or_form(source):
    trained = [*source.tasks("train"), *(demonstration.task for demonstration in source.demonstrations())]
    read = {frozenset(text.partition(",")[0].split()) for text in source.texts()}
    assert word_sets(source.tasks("heldout")).isdisjoint(word_sets(trained) | read)


def test_prompts_and_ids_are_unique_within_the_source(source):
    tasks = [*source.tasks("train"), *source.tasks("heldout")]
    assert len({task.prompt for task in tasks}) == len({task.id for task in tasks}) == len(tasks)


def test_references_follow_every_instruction_and_only_right_demonstrations_do(source):
    assert all(follows(task.reference, task) for task in source.tasks("heldout"))
    for demonstration in source.demonstrations():
        is_right = demonstration.quality == "right"
        assert follows(demonstration.completion, demonstration.task) == is_right, demonstration


def test_leaving_out_or_repeating_a_word_does_not_pass(source):
    for task in source.tasks("heldout"):
        first, second = task.prompt.partition(",")[0].split()
        upper = first if "capitals" not in task.prompt else first.upper()
        shorter = re.sub(second, first, task.reference, flags=re.IGNORECASE)
        assert not follows(shorter, task)
        assert not follows(f"{task.reference} {upper}", task)
        assert not follows("", task)


def test_about_a_third_of_the_demonstrations_are_right(source):
    count = Counter(demonstration.quality for demonstration in source.demonstrations())
    assert set(count) == {"right", "form-forgotten"}
    assert 0.3 < count["right"] / count.total() < 0.4


def test_no_word_holds_another_so_that_each_must_be_written(source):
    words = set().union(*word_sets(source.tasks("train")))
    assert len(words) == source.config.vocabulary
    assert not [(one, other) for one in words for other in words if one != other and one in other]


def test_everything_is_written_in_the_alphabet(source):
    texts = [*source.texts(), *(demonstration.completion for demonstration in source.demonstrations())]
    prompts = [task.prompt for split in ("train", "heldout") for task in source.tasks(split)]
    assert set("".join([*texts, *prompts])) <= set(source.alphabet)


def test_the_same_config_gives_the_same_tasks_and_demonstrations(source):
    again = WritingTasks(source.config)
    assert again.tasks("train") == source.tasks("train")
    assert again.tasks("heldout") == source.tasks("heldout")
    assert again.demonstrations() == source.demonstrations()


def test_the_seed_changes_the_tasks_but_never_their_side():
    one, other = (WritingTasks({"data": "generated", "seed": seed}) for seed in (0, 1))
    assert one.tasks("train") != other.tasks("train")
    assert word_sets(one.tasks("train")).isdisjoint(word_sets(other.tasks("heldout")))


def test_real_words_come_from_the_stories_and_the_source_says_so(stories):
    assert str(SHARED) in stories.origin
    assert [path.name for path in stories.files()] == [FILE]


def test_own_words_say_so_and_read_no_file(own):
    assert own.origin == "the package's own words"
    assert not own.files()


def test_auto_takes_the_folder_that_the_variable_names(tmp_path, monkeypatch):
    told = "bear met nine wolf cubs four elk two owls and some mice they sang until dusk"
    write_stories(tmp_path, [f"A {told}."])
    monkeypatch.setenv("COLLEGIUM_DATA", str(tmp_path))
    source = WritingTasks({"vocabulary": 10, "train": 20, "heldout": 5})
    assert set().union(*word_sets(source.tasks("train"))) <= set(told.split())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, rf"{FILE}:1: cannot be read: .*No such file"),
        (gzip.compress(b""), rf"{FILE}:1: the file is empty"),
        (gzip.compress(b'{"text": "sea"}\n' * 50)[:-9], rf"{FILE}:\d+: cannot be read"),
        (gzip.compress(b'{"text": "sea"}\n{"text'), rf"{FILE}:2: not JSON"),
        (gzip.compress(b'["sea"]\n'), rf"{FILE}:1: expected a JSON object, found list"),
        (gzip.compress(b'{"title": "sea"}\n'), rf"{FILE}:1: expected a text field 'text'"),
        (gzip.compress(b'{"text": "one two"}\n'), rf"{FILE}:1: found 2 words .* expected 120"),
    ],
    ids=["missing", "empty", "truncated", "cut-line", "not-an-object", "wrong-field", "too-few-words"],
)
def test_a_bad_data_file_is_named_with_its_line(tmp_path, content, said):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DataError, match=said) as raised:
        WritingTasks({"data": str(tmp_path)}).tasks("train")
    assert raised.value.owner == "collegium-teacher-writing"


def test_more_tasks_than_there_are_combinations_of_words_are_refused():
    with pytest.raises(DataError, match=r"'writing'.*vocabulary=10, words=1"):
        WritingTasks({"data": "generated", "vocabulary": 10, "words": 1}).tasks("train")


def test_a_vocabulary_larger_than_the_own_list_is_refused():
    with pytest.raises(DataError, match=r"own list has .* words, expected 5000"):
        WritingTasks({"data": "generated", "vocabulary": 5000}).tasks("train")


def test_an_unknown_option_is_refused():
    with pytest.raises(ValidationError, match="word\n"):
        WritingTasks({"word": 2})


def test_the_instructions_verifier_agrees_with_the_demonstrations_quality(source):
    verifier = installed_verifier(source.verifier)
    for demonstration in source.demonstrations()[:150]:
        verdict = verifier.verify(Completion(demonstration.completion), demonstration.task)
        assert verdict.value == float(demonstration.quality == "right"), demonstration


def shortcuts(task):
    """Return wrong texts for a task, by what is wrong with each."""
    right = task.reference
    first, second = task.prompt.partition(",")[0].split()
    capitals = "capitals" in task.prompt
    one, two = (first.upper(), second.upper()) if capitals else (first, second)
    other_case = right.lower() if capitals else right.upper()
    join = right[right.index(one) : right.index(two) + len(two)]
    return {
        "the other case": other_case,
        "one word in the other case": right.replace(one, one.swapcase()),
        "the first word missing": right.replace(one, "", 1),
        "the second word missing": right.replace(two, "", 1),
        "the first word for both": right.replace(two, one),
        "an extra word after": f"{right} {two}",
        "an extra word before": f"{one} {right}",
        "an extra word between": right.replace(two, f"{one} {two}"),
        "fused words": right.replace(join, one + two),
        "fused words and one more": right.replace(join, f"{one}{two} {two}"),
        "swapped words": right.replace(join, join.replace(one, "0").replace(two, one).replace("0", two)),
        "the prompt": task.prompt,
        "the prompt and the answer": task.prompt + right,
        "the words as the prompt has them": f"{first} {second}",
        "the answer twice": f"{right} {right}",
        "nothing": "",
        "a blank": " ",
    }


def test_the_verifier_passes_every_heldout_reference_and_no_shortcut(source):
    verifier = installed_verifier(source.verifier)
    tasks = source.tasks("heldout")
    assert len(tasks) == 200
    for task in tasks:
        assert verifier.verify(Completion(task.reference), task).value == 1.0, task
        for fault, text in shortcuts(task).items():
            assert text != task.reference
            assert verifier.verify(Completion(text), task).value == 0.0, (fault, text, task)


def write_stories(folder, texts):
    (folder / FILE).write_bytes(gzip.compress("".join(json.dumps({"text": text}) + "\n" for text in texts).encode()))


def installed_verifier(name):
    """The verifier of that name from whatever distribution offers it; skipped where none is installed."""
    for entry in entry_points(group="collegium"):
        for component in getattr(entry.load(), "register_verifiers", list)():
            if component.name == name:
                module, _, attribute = component.target.partition(":")
                return getattr(__import__(module, fromlist=[attribute]), attribute)()
    pytest.skip(f"no installed distribution offers the verifier {name!r}")
