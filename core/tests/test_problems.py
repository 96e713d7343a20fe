"""What a fault in the options says, and what it must not show."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from collegium.component import Config
from collegium.recipe.problems import problems_of
from collegium.recipe.source import SourceMap


class Options(Config):
    url: int = 0
    api_key_env: int = 0
    workers: int = 0


def said(**options: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Options.model_validate(options)
    return "\n".join(problem.what for problem in problems_of(caught.value, Options, ("stages", "s"), SourceMap()))


def test_a_wrong_value_is_shown():
    assert "stages.s.workers" in said(workers="many")
    assert "'many'" in said(workers="many")


def test_a_key_that_was_put_where_a_name_belongs_is_not_shown():
    assert "sk-very-secret" not in said(api_key_env="sk-very-secret")
    assert "stages.s.api_key_env" in said(api_key_env="sk-very-secret")


def test_the_credentials_of_a_url_are_not_shown():
    text = said(url="https://user:hunter2@host/v1")
    assert "hunter2" not in text
    assert "//***@host/v1" in text
