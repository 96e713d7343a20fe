"""The project's own components pass the kit, with cases where they judge."""

from __future__ import annotations

from typing import Any

import pytest

from collegium.testing.conformance import check_component

WORDS = {"instruction_id_list": ["length_constraints:number_words"]}
FORM = {
    "instruction_id_list": ["punctuation:no_comma", "keywords:forbidden_words"],
    "kwargs": [{}, {"forbidden_words": ["maybe"]}],
}


def case(name: str, completion: str, expected: int, reference: str | None = None, **task: Any) -> dict[str, Any]:
    return {"id": name, "completion": completion, "expected": expected, "reference": reference, "task": task}


def words(relation: str, number: int) -> dict[str, Any]:
    return {**WORDS, "kwargs": [{"relation": relation, "num_words": number}]}


VERIFIERS: dict[str, tuple[dict[str, Any] | None, list[dict[str, Any]]]] = {
    "collegium-verifier-math/math": (
        {"workers": 1},
        [
            case("decimal", "so \\boxed{0.5}", 1, "\\frac{1}{2}"),
            case("symbolic", "\\boxed{\\sqrt{8}}", 1, "2\\sqrt{2}"),
            case("plain", "#### 18", 1, "18"),
            case("wrong", "#### 19", 0, "18"),
            case("none", "I cannot say.", 0, "18"),
        ],
    ),
    "collegium-verifier-instructions/instructions": (
        None,
        [
            case("long enough", "one two three four", 1, **words("at least", 3)),
            case("too short", "one", 0, **words("at least", 3)),
            case("form", "a plain answer", 1, **FORM),
            case("broken form", "a plain, answer", 0, **FORM),
        ],
    ),
    "collegium-verifier-format/format": (
        None,
        [
            case("right", "<think>a</think><answer>b</answer>", 1),
            case("swapped", "<answer>b</answer><think>a</think>", 0),
        ],
    ),
    "collegium-verifier-format/length": (
        {"unit": "words", "max": 3},
        [case("short", "one two", 1), case("long", "one two three four", 0)],
    ),
    "collegium-verifier-format/language": (
        {"scripts": ["Latin"]},
        [case("latin", "plain text", 1), case("cyrillic", "\u0442\u0435\u043a\u0441\u0442", 0)],
    ),
    "collegium-verifier-format/repetition": (
        None,
        [case("prose", "It moves on from here to there.", 1), case("loop", "It moves. " * 20, 0)],
    ),
    "collegium-verifier-code/code": (
        {"workers": 1, "timeout_s": 1.0},
        [
            case("right", "def f(x):\n    return x + 1\n", 1, tests=["assert f(1) == 2", "assert f(2) == 3"]),
            case("wrong", "def f(x):\n    return x\n", 0, tests=["assert f(1) == 2"]),
            case("program", "print(int(input()) * 2)", 1, io=[{"stdin": "4\n", "stdout": "8\n"}]),
        ],
    ),
}
HANGS = {
    "collegium-verifier-math/math": {
        "id": "hang",
        "completion": "\\boxed{9^{9^{9^{9}}}}",
        "reference": "x",
        "hangs": True,
    },
    "collegium-verifier-code/code": {
        "id": "hang",
        "completion": "def f(x):\n    while True:\n        pass\n",
        "task": {"tests": ["assert f(1) == 2"]},
        "hangs": True,
    },
}
NEVER = {"time-limit", "missing-reference-refused", "unparseable-reference-not-full"}
NEVER |= {"unknown-names-not-full", "repeated-names-all-count"}


def check_that_none_fails(kind: Any, name: str, **given: Any) -> set[str]:
    """Check a component; return the checks that were not applicable."""
    results = check_component(kind, name, **given)
    assert not [result for result in results if result.status == "failed"]
    return {result.check for result in results if result.status == "not applicable"}


@pytest.mark.parametrize("name", VERIFIERS)
def test_verifiers_pass(name):
    options, cases = VERIFIERS[name]
    hanging = [HANGS[name]] if name in HANGS else []
    skipped = check_that_none_fails("verifier", name, options=options, cases=[*cases, *hanging])
    assert skipped <= NEVER


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("router", "collegium-mopd/by-domain"),
        ("weighter", "collegium-mopd/uniform"),
        ("weighter", "collegium-mopd/balanced"),
        ("sampler", "collegium/shuffled"),
        ("sampler", "collegium/stratified"),
        ("sampler", "collegium-grpo/dynamic"),
        ("reward", "collegium/domain-verifier"),
        ("loss", "collegium-grpo/clipped"),
        ("loss", "collegium-mopd/sampled-token"),
        ("loss", "collegium-mopd/reverse-kl"),
    ],
)
def test_other_components_pass_every_check(kind, name):
    assert check_that_none_fails(kind, name) == set()


@pytest.mark.parametrize("name", ["collegium-teacher-writing/writing", "collegium-teacher-arithmetic/arithmetic"])
def test_task_sources_pass_every_check(name):
    """On their own data: `auto` looks for real data near the working directory, and the kit's process has another one."""
    assert check_that_none_fails("task", name, options={"data": "generated"}) == set()


def test_a_router_that_reads_the_data_passes_on_cases():
    cases = [{"id": "a", "completion": "", "task": {"teacher": "law"}}]
    assert check_that_none_fails("router", "collegium-mopd/by-task-field", cases=cases) == set()


@pytest.mark.parametrize(
    ("name", "options"), [("collegium-mopd/top-k", {"chunk": 3}), ("collegium-grpo/cispo", {"clip_high": 4.0})]
)
def test_losses_that_need_options_pass(name, options):
    assert check_that_none_fails("loss", name, options=options) == set()


@pytest.mark.parametrize("name", ["collegium-mopd/mopd", "collegium-grpo/grpo", "collegium-sft/sft"])
def test_stages_pass_the_general_checks(name):
    check_that_none_fails("stage", name)
