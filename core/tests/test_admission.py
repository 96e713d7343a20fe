"""The admission gate: fail closed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from collegium.component import Use
from collegium.errors import TeacherError
from collegium.recipe.model import AdmissionConfig
from collegium.running.admission import admit_teachers


@dataclass
class Routed:
    """What the gate reads of a planned stage."""

    teachers: dict
    routes: dict
    id: str = "student"


def gate(teachers, routes, start, scores, **options):
    admit_teachers(Routed(teachers, routes), start, scores, AdmissionConfig(margin=0.1, **options))


def test_a_teacher_that_is_ahead_by_the_margin_is_admitted():
    gate({"math": "teacher-math"}, {"math": "math"}, {"math": 0.5}, {"math": {"math": 0.6}})


@pytest.mark.parametrize("own", [0.59, 0.5, 0.1])
def test_one_that_is_not_is_refused_with_both_scores(own):
    with pytest.raises(TeacherError, match=rf"'math' scores {own:.3f} on 'math', the student starts at 0.500"):
        gate({"math": "teacher-math"}, {"math": "math"}, {"math": 0.5}, {"math": {"math": own}})


def test_self_is_exempt():
    gate({"math": "self"}, {"math": "math"}, {}, {})


@pytest.mark.parametrize("teacher", ["teacher-math", Use(use="acme/served")])
@pytest.mark.parametrize(("start", "scores"), [({"math": 0.1}, {}), ({}, {"math": {"math": 0.9}})])
def test_a_missing_score_refuses_unless_the_recipe_says_otherwise(teacher, start, scores):
    with pytest.raises(TeacherError, match="has no held-out score"):
        gate({"math": teacher}, {"math": "math"}, start, scores)
    gate({"math": teacher}, {"math": "math"}, start, scores, unscored="admit")


def test_every_teacher_of_a_weighted_route_is_looked_at_and_all_faults_come_at_once():
    with pytest.raises(TeacherError) as caught:
        gate({"a": "x", "b": "y"}, {"math": {"a": 0.5, "b": 0.5}}, {"math": 0.5}, {"a": {"math": 0.1}})
    assert len(caught.value.problems) == 2
