"""Submissions that want out of the sandbox: each answers rightly if it gets anywhere, so a pass is an escape."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.selftest import ESCAPES, escape
from collegium_verifier_code.verifier import CodeVerifier


@pytest.mark.parametrize("name", ESCAPES)
def test_an_escape_gets_nowhere(name: str, mapped_attack: Callable[[str], Verdict]) -> None:
    verdict = mapped_attack(escape(ESCAPES[name]))
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0, verdict


def test_the_template_passes_when_an_attempt_succeeds(mapped_attack: Callable[[str], Verdict]) -> None:
    verdict = mapped_attack(escape("open('own', 'w').write('x'); return os.listdir('.')"))
    assert isinstance(verdict, Score)
    assert verdict.value == 1.0


def test_the_scratch_folder_is_new_for_each_submission(hasty_verifier: CodeVerifier) -> None:
    task = Task("t", "", data={"tests": ["assert f() == []"]})
    leave = "import os\nopen('left', 'w').write('x')\nos.mkdir('d')\ndef f(): return sorted(os.listdir('.'))"
    look = "import os\ndef f(): return os.listdir('.')"
    left = hasty_verifier.verify_batch([Completion(leave)] * 4, [task] * 4)
    found = hasty_verifier.verify_batch([Completion(look)] * 4, [task] * 4)
    assert [verdict.value for verdict in left if isinstance(verdict, Score)] == [0.0] * 4
    assert [verdict.value for verdict in found if isinstance(verdict, Score)] == [1.0] * 4


def test_no_file_appears_outside(hasty_verifier: CodeVerifier, tmp_path: Path) -> None:
    code = f"""
import os
for folder in ('/tmp', '/scratch', {str(tmp_path)!r}, {os.getcwd()!r}, '/dev/shm', '/var/tmp', '/run'):
    try: open(folder + '/collegium-escape-mark', 'w').write('x')
    except OSError: pass
def f(): return True
"""
    verdict = hasty_verifier.verify(Completion(code), Task("t", "", data={"tests": ["assert f()"]}))
    assert isinstance(verdict, Score)
    assert verdict.value == 1.0, verdict  # it ran to its end
    folders = ("/tmp", tmp_path, os.getcwd(), "/dev/shm", "/var/tmp", "/run")
    assert [folder for folder in folders if (Path(folder) / "collegium-escape-mark").exists()] == []
