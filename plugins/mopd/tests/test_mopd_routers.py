"""Routing: by name, and never by default (invariant f)."""

import pytest

from collegium import Sample, Task
from collegium_mopd.routers import ByDomain, ByTaskField


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
