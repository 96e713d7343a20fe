"""The key goes to the server that the recipe names and nowhere else; certificates are checked."""

from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import subprocess
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from collegium.endpoints import KeyMask
from collegium.errors import ConfigError, TeacherError
from collegium.recipe.problems import problems_of
from collegium.recipe.source import SourceMap
from collegium_teacher_served.config import ServedTeacherConfig

KEY = 'sk-"Qz7vK"/+42?w'
VARIABLE = "SERVED_TEACHER_TEST_KEY"


@pytest.fixture
def keyed(server, monkeypatch):
    """The server with a key, which the environment holds."""
    monkeypatch.setenv(VARIABLE, KEY)
    server.key = KEY
    return server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority and a certificate of 127.0.0.1 that it signed."""
    if shutil.which("openssl") is None:
        if os.environ.get("CI"):
            pytest.fail("the TLS tests need openssl")
        pytest.skip("openssl is not there")
    folder = tmp_path_factory.mktemp("tls")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "ca.key"]
    run(folder, [*make, "-out", "ca.pem", "-subj", "/CN=Test authority"])
    run(folder, [*make[:2], *make[3:6], "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=teacher"])
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    sign = ["openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    run(folder, [*sign, "-days", "2", "-extfile", "names", "-out", "server.pem"])
    return folder


def run(folder, command):
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def test_the_key_of_the_environment_opens_the_server(teacher, keyed, batch):
    served = teacher(api_key_env=VARIABLE)
    served.open()
    assert (served.logprobs(batch)[batch.completion_mask] < 0).all()
    assert {seen.headers["Authorization"] for seen in keyed.seen} == {f"Bearer {KEY}"}


def test_a_missing_or_impossible_key_is_an_error_that_names_the_variable(teacher, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"{VARIABLE}, which is not set"):
        teacher(api_key_env=VARIABLE).open()
    monkeypatch.setenv(VARIABLE, "two words")
    with pytest.raises(ConfigError, match=f"{VARIABLE}, which holds no valid key") as caught:
        teacher(api_key_env=VARIABLE).open()
    assert "two words" not in str(caught.value)


def test_a_key_that_is_not_accepted_is_told_without_it(teacher, keyed, monkeypatch):
    monkeypatch.setenv(VARIABLE, "wrong-key-12345")
    with pytest.raises(TeacherError, match="it answered 401") as caught:
        teacher(api_key_env=VARIABLE).open()
    assert f"the key in {VARIABLE} is not accepted" in str(caught.value)
    assert "wrong-key" not in str(caught.value)
    with pytest.raises(TeacherError, match="name the variable that holds it in api_key_env"):
        teacher().open()


ECHOES = {
    "plain": KEY,
    "JSON": json.dumps({"key": KEY}),
    "JSON in JSON": json.dumps(json.dumps(KEY)),
    "URL": quote(KEY, safe=""),
    "URL, twice": quote(quote(KEY, safe=""), safe=""),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 with a user": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "URL-safe base64 in a sentence": base64.urlsafe_b64encode(f"it was {KEY} indeed".encode()).decode(),
    "HTML": "".join(f"&#{ord(character)};" for character in KEY),
    "beyond the cut": "x" * 290 + KEY,
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("status", [200, 403, 500])
def test_an_echoed_key_is_masked_in_errors_and_logs(teacher, keyed, servers, caplog, echo, status):
    headers = {"X-Echo": KEY}
    keyed.always["/v1/models"] = servers.Behaviour(status=status, raw=echo.encode(), headers=headers)
    with caplog.at_level(logging.DEBUG), pytest.raises(TeacherError) as caught:
        teacher(api_key_env=VARIABLE, retries=0).open()
    told = [str(caught.value), repr(caught.value), caplog.text]
    for text in told:
        assert not any(KEY[start : start + 6] in text for start in range(len(KEY) - 5))
        assert echo not in text
    assert "[key]" in told[0] or echo.startswith("x")
    assert "X-Echo" in caplog.text  # the headers are logged, so that masking them was needed


def test_a_key_in_a_malformed_value_is_masked_before_it_is_cut(teacher, keyed, servers, batch):
    def echo(reply):
        return {"choices": [{**choice, "index": "y" * 285 + KEY} for choice in reply["choices"]]}

    keyed.always["/v1/completions"] = servers.Behaviour(change=echo)
    served = teacher(api_key_env=VARIABLE)
    served.open()
    with pytest.raises(TeacherError, match="indices") as caught:
        served.logprobs(batch)
    assert KEY[:4] not in str(caught.value)


def test_a_mask_without_a_key_changes_nothing():
    assert KeyMask("")("sk-1 %41 \\u0041") == "sk-1 %41 \\u0041"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(teacher, keyed, servers, status):
    with servers.serving(keyed.model) as other:
        location = {"Location": f"{other.url}/v1/models"}
        keyed.always["/v1/models"] = servers.Behaviour(status=status, headers=location)
        with pytest.raises(TeacherError, match=f"a redirect, which is not followed: {other.url}"):
            teacher(api_key_env=VARIABLE).open()
        assert not other.seen


def test_a_certificate_of_the_named_authority_is_accepted(teacher, keyed, certificates, batch):
    keyed.use_tls(certificates / "server.pem", certificates / "server.key")
    served = teacher(url=keyed.url, ca_file=certificates / "ca.pem", api_key_env=VARIABLE)
    served.open()
    assert (served.logprobs(batch)[batch.completion_mask] < 0).all()


def test_a_certificate_of_an_unknown_authority_is_refused_at_once_and_gets_no_request(teacher, keyed, certificates):
    keyed.use_tls(certificates / "server.pem", certificates / "server.key")
    with pytest.raises(TeacherError, match=r"certificate is not trusted.*CERTIFICATE_VERIFY_FAILED") as caught:
        teacher(url=keyed.url, api_key_env=VARIABLE).open()
    assert "name its authority's file in ca_file" in str(caught.value)
    assert not keyed.seen


def test_a_certificate_of_another_host_is_refused(teacher, server, certificates):
    server.use_tls(certificates / "server.pem", certificates / "server.key")
    with pytest.raises(TeacherError, match="certificate is not trusted"):
        teacher(url=server.url.replace("127.0.0.1", "localhost"), ca_file=certificates / "ca.pem").open()


def test_a_file_without_a_certificate_is_an_error(teacher, server, tmp_path):
    (tmp_path / "ca.pem").write_text("none")
    for file in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigError, match="cannot be used"):
            teacher(url="https://127.0.0.1:1", ca_file=tmp_path / file).open()


PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture
def proxy(servers, keyed):
    """A server that answers, as a forwarding proxy is asked, for the whole address, and takes note of it."""
    with servers.serving(keyed.model) as running:
        running.key = KEY
        running.forwards = True
        yield running


def test_no_proxy_of_the_environment_gets_the_key(teacher, keyed, proxy, batch, monkeypatch):
    for name in PROXIES:
        monkeypatch.setenv(name, "" if name.lower() == "no_proxy" else proxy.url)
    served = teacher(api_key_env=VARIABLE)
    served.open()
    assert (served.logprobs(batch)[batch.completion_mask] < 0).all()
    assert not proxy.seen
    assert keyed.seen


def test_the_proxy_that_the_recipe_names_is_used(teacher, keyed, proxy, batch, monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    served = teacher(api_key_env=VARIABLE, proxy=proxy.url)
    served.open()
    assert (served.logprobs(batch)[batch.completion_mask] < 0).all()
    assert not keyed.seen
    assert {seen.target for seen in proxy.seen} >= {f"{keyed.url}/v1/models", f"{keyed.url}/v1/completions"}


def test_no_netrc_replaces_the_key(teacher, keyed, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    teacher(api_key_env=VARIABLE).open()
    assert {seen.headers["Authorization"] for seen in keyed.seen} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://proxy:1080", "http://", "ftp://proxy"])
def test_a_proxy_is_the_root_of_an_http_one(proxy):
    with pytest.raises(ValidationError, match="proxy must be one such as"):
        ServedTeacherConfig(url="http://host", model="m", tokenizer="t", proxy=proxy)


SECRETS = {
    "a password of the proxy": {"proxy": "http://me:hunter2@proxy:3128"},
    "a user of the proxy alone": {"proxy": "hunter2@proxy:3128"},
    "a password": {"url": "http://me:hunter2@host"},
    "a password with a slash": {"url": "https://me:hun/hunter2@host"},
    "a user alone": {"url": "http://hunter2@host"},
    "no scheme": {"url": "me:hunter2@host"},
    "a query": {"url": "http://host/?key=hunter2"},
    "a fragment": {"url": "http://host/#hunter2"},
    "the key instead of its variable": {"api_key_env": "sk-hunter2"},
    "a key as an option": {"api_key": "hunter2"},
}


@pytest.mark.parametrize("options", SECRETS.values(), ids=SECRETS)
def test_credentials_in_options_are_refused_and_not_shown(options):
    given = {"url": "http://host", "model": "m", "tokenizer": "t", **options}
    with pytest.raises(ValidationError) as caught:
        ServedTeacherConfig(**given)
    problems = list(problems_of(caught.value, ServedTeacherConfig, (), SourceMap()))
    assert problems
    assert "hunter2" not in "".join(map(str, problems))


def test_options_hold_the_name_of_the_variable_only(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    config = ServedTeacherConfig(url="https://host/v1", model="m", tokenizer="t", api_key_env=VARIABLE)
    assert KEY not in config.model_dump_json()
    assert VARIABLE in config.model_dump_json()
