"""A service that echoes the key, never ends, or sends a bomb: the key stands nowhere, and time and memory are kept."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest

from collegium import Completion, Error, Score, Task, Verdict
from collegium.endpoints import KeyMask
from collegium_verifier_judge import cache as cache_module
from collegium_verifier_judge.cache import AnswerCache
from collegium_verifier_judge.verifier import JudgeVerifier

Build = Callable[..., JudgeVerifier]
TASK = Task("t1", "name colours", "red green")
KEY = "sk-very/secret+0123456789"


def judged(judge: JudgeVerifier, text: str = "alpha beta") -> Verdict:
    return judge.verify(Completion(text), TASK)


def with_reason(text: str) -> Callable[[Any], dict[str, Any]]:
    return lambda seen: {"token": seen.token, "reason": text, "points": 5}


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04X}" for character in text)


ECHOES: dict[str, dict[str, Any]] = {
    "status line": {"status": 401, "phrase": f"no {KEY}", "raw": b""},
    "body, cut within the key": {"status": 401, "raw": b"x" * 185 + KEY.encode()},
    "escaped body": {"status": 401, "raw": f'{{"error": "{escaped(KEY)}"}}'.encode()},
    "escaped twice": {"status": 401, "raw": json.dumps(escaped(KEY)).encode()},
    "quoted body": {"status": 500, "raw": quote(KEY, safe="").encode()},
    "no JSON": {"raw": KEY.encode()},
    "key names": {"raw": json.dumps({KEY: 1}).encode()},
    "finish_reason": {"finish": KEY},
    "refusal": {"message": {"refusal": KEY}},
    "prose": {"rule": lambda seen: f"{'x' * 70} {KEY}"},
    "points": {"rule": lambda seen: {"token": seen.token, "reason": "", "points": [KEY]}},
    "encoding": {"headers": {"Content-Encoding": KEY}},
    "good reason": {"rule": with_reason(KEY)},
    "good reason, cut": {"rule": with_reason("x" * 490 + KEY)},
    "good reason, escaped": {"rule": with_reason(escaped(KEY))},
    "good reason, base64": {"rule": with_reason(base64.b64encode(f"Bearer {KEY}".encode()).decode())},
}


@pytest.mark.parametrize("name", ECHOES)
def test_an_echoed_key_is_neither_told_nor_kept(
    judge_of: Build,
    endpoint: Any,
    scripted: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    name: str,
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    endpoint.always = scripted.Behaviour(**ECHOES[name])
    path = tmp_path / "answers.sqlite"
    verdict = judged(judge_of(api_key_env="JUDGE_KEY", retries=0, cache=path))
    assert isinstance(verdict, Score if name.startswith("good") else Error)
    hidden = base64.b64encode(KEY.encode()).decode()[4:-4]
    told = repr(verdict) + path.read_bytes().decode("latin-1")
    assert KEY[:8] not in told
    assert hidden not in told
    assert escaped(KEY) not in told
    assert quote(KEY, safe="") not in told
    assert KEY not in caplog.text


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_the_key_is_found_in_base64_wherever_it_begins(before: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(f"{before}{KEY} and more".encode()).decode()
        assert "[key]" in KeyMask(KEY)(text)


def test_without_a_key_nothing_is_masked() -> None:
    assert KeyMask("")("any text") == "any text"


@pytest.mark.parametrize(
    "behaviour",
    [
        {"opening": b"HTTP/1.1 200 OK\r\nX: ", "endless": b"a"},
        {"endless": b"HTTP/1.1 103 Early Hints\r\n\r\n"},
        {"opening": b"HTTP/1.1 200 OK\r\n\r\n", "endless": b"a"},
    ],
    ids=["headers", "early hints", "body without length"],
)
def test_a_service_that_never_ends_its_reply_is_given_up(
    judge_of: Build, endpoint: Any, scripted: ModuleType, behaviour: dict[str, bytes]
) -> None:
    endpoint.always = scripted.Behaviour(**behaviour)
    verdict = judged(judge_of(request_s=0.3, retries=1))
    assert isinstance(verdict, Error)
    assert "no reply within 0.3 s" in verdict.reason
    assert len(endpoint.seen) == 2


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "br"])
def test_a_compressed_reply_is_refused_and_not_unpacked(
    judge_of: Build, endpoint: Any, scripted: ModuleType, encoding: str
) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    endpoint.always = scripted.Behaviour(headers={"Content-Encoding": encoding}, raw=bomb)
    verdict = judged(judge_of())
    assert isinstance(verdict, Error)
    assert f"compressed, which was not asked for (Accept-Encoding: identity): {encoding}" in verdict.reason
    assert endpoint.seen[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("tokens", [10**400, -1, 1.5, True, "12", [1]])
def test_usage_that_is_no_sane_number_is_refused_and_not_counted(
    judge_of: Build, endpoint: Any, scripted: ModuleType, tokens: object
) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": 1}
    raw = json.dumps(scripted.completion("x", usage=usage)).encode()
    endpoint.script = [scripted.Behaviour(raw=raw)]
    judge = judge_of(budget={"cost": 1, "prompt_price": 1, "completion_price": 1})
    verdict = judged(judge)
    assert isinstance(verdict, Error)
    assert "token usage that is no number" in verdict.reason
    assert isinstance(judged(judge, "gamma"), Score)
    assert judge.spent.prompt_tokens == 100


def test_memory_keeps_the_newest_answers_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache_module, "MOST_IN_MEMORY", 3)
    for path, kept in ((None, 3), (tmp_path / "answers.sqlite", 10)):
        cache = AnswerCache(path)
        for number in range(10):
            cache.store(str(number), {"points": number})
        assert [number for number in range(10) if cache.take(str(number))] == list(range(10))[-kept:]
        cache.close()
