"""The reward `rubric`: criteria by patterns, named verifiers and a judge; malformed rubrics name their task."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from collegium import Abstain, Completion, Error, Sample, Score, Task
from collegium.testing.reward_context import InstalledParts
from collegium.testing.stages import toy_registry
from collegium_rewards.criteria import found_in, rubric_score
from collegium_rewards.rubric import RubricReward

CHECKS = {"exact": "collegium-toy/toy"}
JUDGE = {"use": "collegium-verifier-judge/judge", "model": "rule", "mode": "reference", "scale": 1, "retries": 0,
         "rubric": "Does the response meet the criterion that is given as the reference?"}  # fmt: skip


class Endpoint(BaseHTTPRequestHandler):
    """A judge that finds a criterion met if the response has the criterion's last word."""

    asked: list[tuple[str, str]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = re.findall(r"<<<([0-9a-f]{12}) ([^\n]+)\n(.*?)\n\2 \1>>>", body["messages"][1]["content"], re.DOTALL)
        texts = {name: text for _, name, text in found}
        self.asked.append((texts["REFERENCE"], texts["RESPONSE"]))
        points = int(texts["REFERENCE"].split()[-1] in texts["RESPONSE"])
        answer = {"token": found[0][0], "reason": "its last word", "points": points}
        reply = {"choices": [{"message": {"content": json.dumps(answer)}, "finish_reason": "stop"}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(reply).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    asked: list[tuple[str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Endpoint,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def source() -> Iterator[Any]:
    """A function that prepares a rubric reward with options."""
    parts = InstalledParts({}, toy_registry())

    def build(**options: Any) -> RubricReward:
        made = RubricReward(options)
        made.prepare(parts.context)
        return made

    yield build
    parts.close()


def sample(text: str, rubric: Any, **fields: Any) -> Sample:
    return Sample(Task("t7", "?", fields.get("reference"), {"rubric": rubric}, "chat"), Completion(text))


def test_points_over_the_points_to_be_had_by_hand():
    assert rubric_score([3, 1], [1, 0]) == 0.75
    assert rubric_score([3, 1, -2], [1, 1, 1]) == 0.5  # a fault takes off
    assert rubric_score([1, -5], [1, 1]) == 0.0  # and no more than there is
    assert rubric_score([2], [0.5]) == 0.5


def test_patterns_are_searched_for():
    rubric = [
        {"text": "greets", "weight": 3, "pattern": "(?i)^hello"},
        {"text": "thanks", "pattern": "thank"},
        {"text": "shouts", "weight": -2, "pattern": "[A-Z]{4}"},
    ]

    made = RubricReward({})
    made.prepare(InstalledParts({}).context)
    verdicts = made.score([sample("Hello there", rubric), sample("hello, THANK you, thanks", rubric)])
    assert [each.value for each in verdicts] == [0.75, 0.5]
    assert verdicts[0].details == {"criteria": {"greets": 1.0, "thanks": 0.0, "shouts": 0.0}}


def test_a_named_check_reads_the_tasks_reference_or_the_criterions(source):
    rubric = [{"text": "right", "check": "exact"}, {"text": "or b", "check": "exact", "reference": "b"}]
    verdicts = source(checks=CHECKS).score([sample(text, rubric, reference="a") for text in ("a", "b", "c")])
    assert [each.value for each in verdicts] == [0.5, 0.5, 0.0]


def test_a_judge_is_asked_about_each_criterion_in_words(source, endpoint):
    url, asked = endpoint
    made = source(judge={**JUDGE, "endpoint": url})
    rubric = [{"text": "names the river", "weight": 3}, {"text": "names the town"}]
    verdicts = made.score([sample("a river", rubric), sample("a town", rubric)])
    assert [each.value for each in verdicts] == [0.75, 0.25]
    assert sorted(asked) == [(c["text"], r) for c in rubric for r in ("a river", "a town")]


def test_a_judge_that_cannot_be_asked_is_an_error_of_its_distribution(source):
    made = source(judge={**JUDGE, "endpoint": "http://127.0.0.1:9/v1"})
    verdict = made.score([sample("a", [{"text": "is short"}])])[0]
    assert isinstance(verdict, Error)
    assert verdict.owner == "collegium-verifier-judge"
    assert verdict.reason.startswith("criterion 'is short': ")


def test_an_abstaining_check_leaves_the_whole_or_is_skipped(source):
    checks = {"script": {"use": "collegium-verifier-format/language", "scripts": ["Latin"]}}
    rubric = [{"text": "latin", "weight": 3, "check": "script"}, {"text": "digit", "pattern": r"\d"}]
    assert isinstance(source(checks=checks).score([sample("1", rubric)])[0], Abstain)
    assert source(checks=checks, abstain="skip").score([sample("1", rubric)])[0].value == 1.0


@pytest.mark.parametrize(
    ("rubric", "said"),
    [
        (None, "no list of criteria"),
        ([], "no list of criteria"),
        ("be nice", "no list of criteria"),
        (["be nice"], "criterion 0"),
        ([{"text": "a", "wieght": 2}], "criterion 0: wieght"),
        ([{"text": "a", "pattern": "("}], "not a regular expression"),
        ([{"text": "a", "weight": 0, "pattern": "a"}], "counts nothing"),
        ([{"text": "a", "pattern": "a", "check": "exact"}], "not both"),
        ([{"text": "a", "pattern": "a", "reference": "b"}], "none is named"),
        ([{"text": "a", "check": "exakt"}], "names the check 'exakt', of exact"),
        ([{"text": "a"}], "needs a judge"),
        ([{"text": "a", "pattern": "a"}] * 2, "one criterion twice"),
        ([{"text": "a", "pattern": "a", "weight": -1}], "weight above 0"),
    ],
)
def test_a_malformed_rubric_is_an_error_that_names_the_task_and_leaves_others_alone(source, rubric, said):
    good = [{"text": "a", "pattern": "a"}]
    bad, fine = source(checks=CHECKS).score([sample("a", rubric), sample("a", good)])
    assert isinstance(bad, Error)
    assert "task 't7'" in bad.reason
    assert said in bad.reason
    assert fine == Score(1.0, {"criteria": {"a": 1.0}})


def test_a_pattern_that_explodes_is_stopped():
    with pytest.raises(TimeoutError):
        found_in("a" * 40 + "b", r"(a|aa)+$")
