"""Every hook, public name, component, option and command is documented, and some test speaks of it."""

from __future__ import annotations

import functools
import inspect
import re
from pathlib import Path
from types import FunctionType

import pytest

import collegium
from collegium import hookspecs
from collegium.cli.main import COMMANDS
from collegium.plugins.registry import Entry, Registry

ROOT = Path(__file__).parents[2]
REGISTRY = Registry.discover()
FOLDERS = {"": "plugins", "verifier-": "verifiers", "teacher-": "teachers"}
HOOKS = [name for name, found in vars(hookspecs).items() if isinstance(found, FunctionType) and hasattr(found, "collegium_spec")]  # fmt: skip


def member_of(entry: Entry) -> Path:
    """The folder of the member that offers a component."""
    if entry.record.distribution == "collegium":
        return ROOT / "core"
    name = entry.record.distribution.removeprefix("collegium-")
    infix = next(infix for infix in ("verifier-", "teacher-", "") if name.startswith(infix))
    return ROOT / FOLDERS[infix] / name.removeprefix(infix).replace("-", "_")


def first_party() -> list[Entry]:
    return [entry for entry in REGISTRY.entries() if (member_of(entry) / "pyproject.toml").is_file()]


@functools.cache
def text_of(*patterns: str) -> str:
    """All text of the files that match, this test's own left out."""
    files = sorted({path for pattern in patterns for path in ROOT.glob(pattern) if path != Path(__file__)})
    assert files, patterns
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def all_tests() -> str:
    members = [f"{folder}/**/test_*.py" for folder in ("core", "plugins/*", "verifiers/*", "teachers/*")]
    return text_of(*members, "tests/**/*.py", "**/tests/conftest.py")


def speaks_of(word: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def test_there_is_something_to_look_at():
    assert len(first_party()) >= 30
    assert len(HOOKS) == 22


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_and_tested(hook):
    assert speaks_of(hook, text_of("docs/hooks.md"))
    assert speaks_of(hook, all_tests()), f"no test implements or calls {hook}"


@pytest.mark.parametrize("name", sorted(set(collegium.__all__)))
def test_a_public_name_is_documented_and_tested(name):
    found = getattr(collegium, name)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert inspect.getdoc(found), f"collegium.{name} has no docstring"
    documents = text_of("docs/*.md", "CONTRIBUTING.md", "README.md", "core/README.md")
    assert speaks_of(name, documents), f"no page speaks of collegium.{name}"
    assert speaks_of(name, all_tests()), f"no test speaks of collegium.{name}"


@pytest.mark.parametrize("entry", first_party(), ids=lambda entry: f"{entry.kind}:{entry.id}")
def test_a_component_its_class_and_its_options_are_documented_and_tested(entry):
    member = member_of(entry)
    readme = (member / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"`[^`\n]*(?<![\w-]){re.escape(entry.component.name)}(?![\w-])[^`\n]*`", readme), (
        "not in its README"
    )
    assert inspect.getdoc(entry.load())
    fields = entry.config_class().model_fields
    assert [name for name, field in fields.items() if not field.description] == [], "options without a description"
    names = (entry.component.name, entry.component.target.rpartition(":")[2])
    tests = text_of(f"{member.relative_to(ROOT)}/tests/**/*.py", "tests/**/*.py")
    assert any(speaks_of(name, tests) for name in names), f"no test of {member.name} speaks of {' or '.join(names)}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_documented_and_tested(command):
    assert re.search(rf"collegium {command}\b", text_of("README.md")), "not in the README"
    assert re.search(rf'"{command}"', all_tests()), "no test calls it"
