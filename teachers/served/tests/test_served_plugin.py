"""The plugin is found through its real entry point, light to plan with, and its options fail closed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from collegium.errors import PolicyError
from collegium.testing.conformance.check import checks_for
from collegium.testing.conformance.subject import Subject
from collegium_teacher_served.config import ServedTeacherConfig

GIVEN = {"url": "http://host:8000", "model": "m", "tokenizer": "tokenizer"}


def test_the_teacher_is_discovered_with_the_options_that_its_class_reads(installed_registry):
    entry = installed_registry.find("teacher", "collegium-teacher-served/served")
    assert entry.load().Config is entry.config_class() is ServedTeacherConfig


@pytest.mark.parametrize("check", [pytest.param(each, id=each.name) for each in checks_for("teacher")])
def test_it_conforms(check, checkpoint):
    options = {**GIVEN, "tokenizer": str(checkpoint)}
    result = check.run(Subject("teacher", "collegium-teacher-served/served", options))
    assert result.status in ("passed", "not applicable"), result.reason


def test_planning_imports_neither_torch_nor_an_http_client():
    code = (
        "import sys, collegium_teacher_served.plugin, collegium_teacher_served.config as c;"
        f"c.ServedTeacherConfig(**{GIVEN!r}).content_paths();"
        "sys.exit(' '.join({'torch', 'httpx', 'transformers'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


@pytest.mark.parametrize(
    "url", ["http://host:8000", "http://host:8000/", "http://host:8000/v1", "http://host:8000/v1/"]
)
def test_the_root_of_the_server_may_be_given_with_v1(url):
    assert ServedTeacherConfig(**{**GIVEN, "url": url}).url == "http://host:8000"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "host:8000"}, "must be one such as"),
        ({"url": "ftp://host"}, "must be one such as"),
        ({"tokenizer": None}, "give tokenizer .* or checkpoint"),
        ({"ca_file": "ca.pem"}, "of no use without https"),
        ({"api_key_env": "sk-123"}, "pattern"),
        ({"api_key": "sk-123"}, "Extra inputs"),
        ({"format": "openai"}, "'vllm' or 'sglang'"),
        ({"request_s": 0}, "greater than 0"),
        ({"breaker": {"failures": 0}}, "greater than or equal to 1"),
        ({"model": ""}, "at least 1 character"),
    ],
)
def test_impossible_options_are_refused(options, match):
    with pytest.raises(ValidationError, match=match):
        ServedTeacherConfig(**{**GIVEN, **options})


def test_contents_are_tokenizer_checkpoint_and_certificate(checkpoint, tmp_path):
    given = {"url": "https://host", "model": "m", "tokenizer": str(tmp_path), "checkpoint": str(checkpoint)}
    config = ServedTeacherConfig(**given, ca_file=tmp_path / "ca.pem")
    assert config.content_paths() == [tmp_path, checkpoint, tmp_path / "ca.pem"]
    assert ServedTeacherConfig(**{**GIVEN, "tokenizer": "owner/name"}).content_paths() == []


def test_a_checkpoint_that_is_none_is_a_problem_of_the_plan(tmp_path):
    with pytest.raises(PolicyError, match="not a model checkpoint"):
        ServedTeacherConfig(url="http://host", model="m", checkpoint=str(tmp_path)).content_paths()
