"""Routing: by name, and never by default (invariant f)."""

import pytest

from collegium import Sample, Task
from collegium_mopd.routers import ByDomain, ByField, ByTaskField


def sample(domain="math", **data):
    return Sample(Task("t1", "?", data=data, domain=domain))


def test_by_domain_routes_to_the_domains_name():
    assert ByDomain().route(sample("code")) == "code"


def test_a_sample_without_a_domain_has_no_teacher():
    with pytest.raises(LookupError, match="task 't1' has no domain"):
        ByDomain().route(sample(""))


def test_by_task_field_routes_to_the_name_in_the_tasks_data():
    assert ByTaskField({"field": "expert"}).route(sample(expert="algebra")) == "algebra"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({}, "has only nothing"),
        ({"level": 3}, "has only 'level'"),
        ({"expert": 3}, "'expert' = 3"),
        ({"expert": ""}, "''"),
    ],
)
def test_a_task_that_names_no_teacher_has_none(data, found):
    with pytest.raises(LookupError, match=found):
        ByTaskField({"field": "expert"}).route(sample(**data))


def moded(mode, domain="math", **data):
    return Sample(Task("t1", "?", data=data, domain=domain, mode=mode))


def test_by_field_routes_by_mode_to_the_teacher_of_that_name_or_of_the_routes():
    assert ByField({"field": "mode"}).route(moded("think")) == "think"
    routes = {"think": "thinker", "non-think": "chatter"}
    router = ByField({"field": "mode", "routes": routes})
    assert [router.route(moded(mode)) for mode in routes] == ["thinker", "chatter"]


def test_by_field_routes_by_several_fields_together():
    router = ByField({"field": ["domain", "mode", "level"]})
    assert router.route(moded("high", "code", level="hard")) == "code-high-hard"


@pytest.mark.parametrize(
    ("options", "mode", "found"),
    [
        ({"field": "mode"}, "", "has no text in 'mode', found ''"),
        ({"field": ["domain", "level"]}, "think", "has no text in 'level', found None"),
        ({"field": "mode", "routes": {"think": "a"}}, "max", "no route for 'max', only think"),
    ],
)
def test_by_field_never_guesses(options, mode, found):
    with pytest.raises(LookupError, match=found):
        ByField(options).route(moded(mode))
