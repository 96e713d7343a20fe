"""The server's life: started, watched, stopped with everything it started, and gone when the stage's process dies."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest

from collegium import EngineError
from collegium_vllm.server_process import ServerProcess, free_port

SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[2], "w").write(str(child.pid))
print("serving with key", sys.argv[3], flush=True)
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""
DEADLINE_S = 20


def start(folder: Path, source: str, *arguments: str) -> ServerProcess:
    folder.mkdir()
    return ServerProcess([sys.executable, "-c", source, *arguments], os.environ, folder, "sk-secret")


def is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def ends(pid: int) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def serve(tmp_path: Path) -> tuple[ServerProcess, int, int]:
    """Start the server and return it with its port and the process that it started."""
    port, note = free_port(), tmp_path / "child"
    process = start(tmp_path / "server", SERVER, str(port), str(note), "sk-secret")
    process.wait_until(lambda: is_up(port), DEADLINE_S)
    return process, port, int(note.read_text())


def test_a_stopped_server_is_gone_with_all_it_started(tmp_path):
    process, port, child = serve(tmp_path)
    process.stop()
    assert ends(child)
    assert not is_up(port)
    assert not (tmp_path / "server").exists()


def test_a_killed_server_is_noticed_and_takes_all_it_started_along(tmp_path):
    process, _, child = serve(tmp_path)
    (server,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(server), signal.SIGKILL)
    assert process.has_ended(DEADLINE_S)
    assert ends(child)
    assert "ended by signal 9" in process.tail()
    process.stop()


def test_the_key_is_shown_neither_of_the_log_nor_of_what_happened(tmp_path):
    process, _, _ = serve(tmp_path)
    told = str(process.error(f"the server said {base64.b64encode(b'it was sk-secret').decode()} and sk-secret"))
    assert "serving with key [key]" in told
    assert "sk-secret" not in told
    assert base64.b64encode(b"it was sk-secret").decode() not in told
    process.stop()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path):
    source = "import sys; [print('line', n) for n in range(99)]; sys.exit('no such model')"
    process = start(tmp_path / "server", source)
    with pytest.raises(EngineError, match="ended while it started") as caught:
        process.wait_until(lambda: False, DEADLINE_S)
    assert "no such model" in str(caught.value)
    assert "ended with status 1" in str(caught.value)
    assert "line 98" in str(caught.value)
    assert "line 10\n" not in str(caught.value)
    assert caught.value.owner == "collegium-vllm"


def test_who_answers_in_place_of_a_server_that_has_ended_does_not_count(tmp_path):
    process = start(tmp_path / "server", "import sys; sys.exit('address already in use')")
    with pytest.raises(EngineError, match="ended while it started"):
        process.wait_until(lambda: process.has_ended(DEADLINE_S), DEADLINE_S)
    process = start(tmp_path / "server", "import sys; sys.exit('address already in use')")
    assert process.has_ended(DEADLINE_S)
    with pytest.raises(EngineError, match="address already in use"):
        process.wait_until(lambda: pytest.fail("nobody is to be asked"), DEADLINE_S)


def test_a_wait_that_fails_stops_the_server(tmp_path):
    process = start(tmp_path / "server", "import time; time.sleep(600)")
    with pytest.raises(ZeroDivisionError):
        process.wait_until(lambda: bool(1 / 0), DEADLINE_S)
    assert ends(process.pid)
    assert not (tmp_path / "server").exists()


def test_a_server_that_is_not_ready_in_time_is_stopped(tmp_path):
    source = "import time; print('loading', flush=True); time.sleep(600)"
    process = start(tmp_path / "server", source)
    with pytest.raises(EngineError, match=r"not ready within 1 s \(startup_timeout_s\)"):
        process.wait_until(lambda: False, 1)
    assert ends(process.pid)


def test_a_server_that_ignores_a_polite_stop_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("collegium_vllm.server_process.GRACE_S", 0.5)
    source = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    process = start(tmp_path / "server", source)
    process.wait_until(lambda: "up" in process.tail(), DEADLINE_S)
    process.stop()
    assert ends(process.pid)


def test_when_the_stages_process_is_killed_nothing_is_left(tmp_path):
    port, note, folder = free_port(), tmp_path / "child", tmp_path / "server"
    owner = textwrap.dedent(
        f"""
        import os, pathlib, sys, time
        from collegium_vllm.server_process import ServerProcess
        folder = pathlib.Path({str(folder)!r}); folder.mkdir()
        command = [sys.executable, "-c", {SERVER!r}, "{port}", {str(note)!r}, "key"]
        print(ServerProcess(command, os.environ, folder).pid, flush=True)
        time.sleep(600)
        """
    )
    stage = subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True)
    assert stage.stdout is not None
    group = int(stage.stdout.readline())
    deadline = time.monotonic() + DEADLINE_S
    while not is_up(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_up(port)
    stage.kill()
    stage.wait()
    stage.stdout.close()
    assert ends(group)
    assert ends(int(note.read_text()))
    assert not is_up(port)
    assert not folder.exists()
