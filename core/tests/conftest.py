"""A small set of light components, installed as the distribution `acme-lab`, for recipe and plan tests."""

from __future__ import annotations

from pathlib import Path

import pytest

PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_stages():
    return [
        component("make", "acme_lab.stages:Make", "Make a model.", config="acme_lab.configs:MakeConfig"),
        component("tune", "acme_lab.stages:Tune", "Tune a model.", config="acme_lab.configs:TuneConfig"),
        component("distil", "acme_lab.stages:Distil", "Distil.", config="acme_lab.configs:DistilConfig"),
        component("collect", "acme_lab.stages:Collect", "Data.", config="acme_lab.configs:CollectConfig"),
    ]

@hookimpl
def register_tasks():
    return [component("toy", "acme_lab.light:ToyTasks", "Toy tasks.")]

@hookimpl
def register_verifiers():
    return [component("exact", "acme_lab.light:Exact", "Equal text."), component("other", "acme_lab.light:Exact", "x")]

@hookimpl
def register_routers():
    return [component("by-label", "acme_lab.light:ByDomain", "By domain.")]
"""
CONFIGS = """
from collegium import Config, StageConfig, UseRouter, UseReward
from pathlib import Path
from typing import ClassVar

class Inner(Config):
    width: int = 8

class MakeConfig(StageConfig):
    requires: ClassVar = frozenset()
    accepts: ClassVar = frozenset({"init_from"})
    steps: int = 1
    inner: Inner = Inner()
    data: str | None = None
    def judges(self):
        return False
    def content_paths(self):
        return (Path(self.data),) if self.data else ()

class TuneConfig(StageConfig):
    accepts: ClassVar = frozenset({"reference", "data_from"})
    steps: int = 1
    reward: UseReward = "domain-verifier"

class DistilConfig(StageConfig):
    requires: ClassVar = frozenset({"init_from", "teachers"})
    steps: int = 1
    router: UseRouter = "by-label"

class CollectConfig(StageConfig):
    requires: ClassVar = frozenset({"generate_from"})
    produces: ClassVar = "data"
"""
LIGHT = """
from collegium import Config, Router, Score, Task, TaskSource, Verifier
from pathlib import Path

class ToyTasks(TaskSource):
    class Config(Config):
        file: str | None = None
    verifier = "exact"
    def tasks(self, split):
        return [Task(id=f"{split}-{n}", prompt=f"{n}", reference=str(n)) for n in range(3)]
    def files(self):
        return [Path(self.config.file)] if self.config.file else []

class ExactConfig(Config):
    strict: bool = False

class Exact(Verifier):
    Config = ExactConfig
    def verify(self, completion, task):
        return Score(float(completion.text == task.reference))

class ByDomain(Router):
    def route(self, sample):
        return sample.domain
"""
STAGES = """
import json
from collegium import Stage
from acme_lab.configs import *

class Base(Stage):
    def run(self, context):
        raise NotImplementedError
class Make(Base):
    Config = MakeConfig
class Tune(Base):
    Config = TuneConfig
class Distil(Base):
    Config = DistilConfig
class Collect(Base):
    Config = CollectConfig
"""
MODULES = {"plugin": PLUGIN, "configs": CONFIGS, "light": LIGHT, "stages": STAGES}
RECIPE = """\
collegium: 1
name: toy
seed: 5
domains:
  math: {task: toy, verifier: exact}
  code: {task: toy, verifier: exact}
stages:
  base: {use: make}
  sft: {use: tune, init_from: base}
  teacher: {use: tune, for_each: domain, init_from: sft}
  student: {use: distil, init_from: sft, teachers: {from: teacher}}
"""


@pytest.fixture
def acme_lab(make_plugin):
    """Install `acme-lab`; returns the factory, so that a test may install a changed version."""

    def install(**changes: str) -> Path:
        return make_plugin("acme-lab", **MODULES | changes)

    install()
    return install


@pytest.fixture
def lab_modules():
    """Return the source of each of acme-lab's modules, for tests that install a changed one."""
    return dict(MODULES)


@pytest.fixture
def recipe_file(tmp_path):
    """Return a function that writes a recipe, the toy one by default with replacements, and gives its path."""

    def write(*replacements: tuple[str, str], text: str = RECIPE, name: str = "toy.yaml") -> Path:
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
