"""Whatever the text, a verdict comes out."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collegium import Completion, Error, Score, Task
from collegium_verifier_code.inside.codec import Malformed, NotPlain, Packer, Unpacker
from collegium_verifier_code.verifier import CodeVerifier

TASK = Task("t", "", data={"tests": ["assert f(2) == 3"]})
RELAXED = settings(
    deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(codec=None, categories=None))

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
keys = scalars | st.tuples(scalars, scalars) | st.frozensets(scalars)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner) | st.sets(keys) | st.frozensets(keys)
    ),
    max_leaves=20,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["int", "set", "dict", "range", "bytes", "complex", "type", "iterator", "deque", "x"]),
            inner,
        )
    ),
    max_leaves=20,
)


def refuse(*_: object) -> None:
    raise NotPlain


def malformed(*_: object) -> None:
    raise Malformed


@RELAXED
@given(TEXT)
def test_any_text_gets_a_score(verifier: CodeVerifier, text: str) -> None:
    verdict = verifier.verify(Completion(text), TASK)
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0


@RELAXED
@given(values)
def test_plain_data_survives_the_pipe(value: object) -> None:
    back = Unpacker(malformed).unpack(Packer(refuse).pack(value))
    assert back == value
    assert type(back) is type(value)


@RELAXED
@given(json_values)
def test_any_json_is_unpacked_or_called_malformed(data: object) -> None:
    try:
        Unpacker(malformed).unpack(data)
    except Malformed:
        return


PIECES = ("def f(x):", "return x + 1", "\n", "    ", "```python\n", "```", "f = ", "lambda x: x + 1", "import os", "\x00",
          "\ud800", "\u2028", "\ufeff", "# -*- coding: utf-7 -*-\n", "'''", "(", "[", "{", "\\", "async ",
          "while True: pass", "9" * 5000)  # fmt: skip
FRAGMENTS = st.sampled_from(PIECES)
CODE_LIKE = st.lists(FRAGMENTS | TEXT, max_size=12).map("".join)
FORMS = st.sampled_from(
    [
        {"tests": ["assert f(2) == 3"]},
        {"io": [{"stdin": "1", "stdout": "2"}]},
        {"test": "def check(candidate):\n    assert candidate(2) == 3\n", "entry_point": "f"},
    ]
)


@RELAXED
@given(CODE_LIKE, FORMS)
def test_anything_like_code_gets_a_score_under_each_form_of_tests(
    hasty_verifier: CodeVerifier, text: str, data: dict[str, object]
) -> None:
    """A text that never ends is stopped by the limit per test: otherwise this test would not end."""
    assert isinstance(hasty_verifier.verify(Completion(text), Task("t", text, data=data)), Score)


@RELAXED
@given(TEXT, TEXT)
def test_any_text_as_a_test_gets_a_verdict(hasty_verifier: CodeVerifier, test: str, setup: str) -> None:
    task = Task("t", "", data={"tests": [test], "setup": setup})
    assert isinstance(hasty_verifier.verify(Completion("def f(x): return x"), task), Score | Error)


@RELAXED
@given(TEXT, TEXT)
def test_any_text_as_input_and_output_gets_a_score(hasty_verifier: CodeVerifier, stdin: str, stdout: str) -> None:
    task = Task("t", "", data={"io": [{"stdin": stdin, "stdout": stdout}]})
    echo = "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())"
    assert isinstance(hasty_verifier.verify(Completion(echo), task), Score)
