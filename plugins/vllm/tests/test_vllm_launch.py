"""A server of the stage's own: what answers must be it, and what cannot be started leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile

import pytest

from collegium import EngineError
from collegium_vllm import client, installed, launch
from collegium_vllm.served import VllmServerEngine
from collegium_vllm.transfer import files_of, remove_orphans

IDLE = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """Pass for a machine with vLLM, whose temporary folder is the test's own."""
    monkeypatch.setattr(installed, "DISTRIBUTIONS", ("pytest",))
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def idle(monkeypatch):
    """Start, in place of vLLM, a process that serves nothing."""
    monkeypatch.setattr(launch, "command", lambda *arguments: IDLE)


def port_of(server):
    return int(server.url.rpartition(":")[2])


@pytest.mark.parametrize("fault", [None, 401, 404])
def test_another_server_at_the_port_is_an_error_and_gets_no_weights(server, idle, tiny, tmp_path, fault):
    server.faults = {"/v1/models": [fault] if fault else []}
    engine = VllmServerEngine({"port": port_of(server), "startup_timeout_s": 30})
    with pytest.raises(EngineError, match="another server answers in place of the one that was started"):
        engine.sync(tiny(), 1)
    assert {path for path, _ in server.asked} == {"/health", "/v1/models"}
    assert list(tmp_path.iterdir()) == []


def test_the_name_that_is_asked_for_is_the_one_that_was_given(server, tiny, monkeypatch):
    def command(*arguments):
        server.serves = arguments[-1]
        return IDLE

    monkeypatch.setattr(launch, "command", command)
    engine = VllmServerEngine({"port": port_of(server)})
    engine.sync(tiny(), 1)
    assert len(server.serves) > 20
    engine.close()


def test_the_command_gives_the_server_its_name(tiny, tmp_path):
    line = launch.command(VllmServerEngine({}).config, tiny(), tmp_path, 8000, "a-name")
    assert line[line.index("--served-model-name") + 1] == "a-name"
    assert line[line.index("--host") + 1] == "127.0.0.1"
    assert line[line.index("--middleware") + 1] == "collegium_vllm.guard.KeyGuard"


@pytest.mark.parametrize("broken", ["write_model_folder", "ServerProcess"])
def test_a_server_that_cannot_be_started_leaves_no_folder(tiny, monkeypatch, tmp_path, broken):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(launch, broken, full)
    with pytest.raises(EngineError, match=r"cannot be started from .*No space left") as caught:
        VllmServerEngine({}).sync(tiny(), 1)
    assert caught.value.owner == "collegium-vllm"
    assert list(tmp_path.iterdir()) == []


def test_without_a_temporary_folder_the_error_says_so(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(EngineError, match="point TMPDIR"):
        VllmServerEngine({}).sync(tiny(), 1)


def test_weights_of_processes_that_died_here_are_removed_and_no_others(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = socket.gethostname()
    kept = [
        f"collegium-weights-{host}-{os.getpid()}-x",
        f"collegium-weights-{host}x-{gone.pid}-x",
        "collegium-weights-x",
    ]
    for name in [*kept, f"collegium-weights-{host}-{gone.pid}-x"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.safetensors").write_bytes(b"")
    remove_orphans(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_an_engine_that_starts_removes_what_a_killed_stage_left(server, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("ROLLOUT_KEY", "sk-any")
    source = (
        "import os, pathlib, sys, torch\n"
        "from collegium_vllm.transfer import files_of\n"
        "with files_of(iter([('weight', torch.ones(3))]), pathlib.Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", source, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    engine = VllmServerEngine({"url": server.url, "api_key_env": "ROLLOUT_KEY", "transfer_dir": str(tmp_path)})
    engine.sync(tiny(), 1)
    engine.close()
    assert list(tmp_path.iterdir()) == []


def test_a_live_process_keeps_its_weights(tmp_path, tiny):
    with files_of(tiny().named_weights(), tmp_path) as files:
        remove_orphans(tmp_path)
        assert all(os.path.exists(file) for file in files)
