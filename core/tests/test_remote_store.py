"""A store at an fsspec location: whole or absent, checked, and nothing lost when it cannot be reached."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collegium.errors import StoreError
from collegium.job import StageOutcome
from collegium.remote_store import RemoteStore
from collegium.store_location import Location, is_url

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402  # after the check that it is installed

OUTCOME = {"metrics": {"loss": 1.5}, "rollouts": 3}
EVALUATION = StageOutcome(
    stage="s", status="completed", seconds=1, scores={"math": 0.5}, metrics={"evaluation/tasks/math": 20.0, "loss": 1.0}
)


class OutageFileSystem(MemoryFileSystem):
    """A real file system in memory that can be cut off: `left` is how many more calls it answers."""

    protocol = "outage"
    left = 10**9
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("outage://", "memory://"))

    def _answer(self) -> None:
        if type(self).left <= 0:
            raise ConnectionResetError("connection reset by peer")
        type(self).left -= 1

    def cat_file(self, *args, **kwargs):
        self._answer()
        return super().cat_file(*args, **kwargs)

    def get_file(self, *args, **kwargs):
        self._answer()
        return super().get_file(*args, **kwargs)

    def put_file(self, *args, **kwargs):
        self._answer()
        return super().put_file(*args, **kwargs)

    def pipe_file(self, *args, **kwargs):
        self._answer()
        return super().pipe_file(*args, **kwargs)


fsspec.register_implementation("outage", OutageFileSystem, clobber=True)


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    if request.param == "file":
        yield f"file://{tmp_path}/far/prefix"
    else:
        yield "memory://bucket/prefix"
        fsspec.filesystem("memory").store.clear()


@pytest.fixture
def outage():
    OutageFileSystem.left = 10**9
    yield OutageFileSystem
    OutageFileSystem.left = 10**9
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def store(url, tmp_path):
    return RemoteStore(url, tmp_path / "cache")


@pytest.fixture
def other(url, tmp_path):
    """The same store as another machine sees it: with a cache of its own."""
    return RemoteStore(url, tmp_path / "other-cache")


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "made" / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"weights")
    (folder / "inner/config.json").write_text("{}")
    return folder


def files_of(store: RemoteStore, below: str = "") -> dict[str, bytes]:
    files, root = store.remote.files, store.remote.root
    found = files.find(f"{root}{below}") if files.exists(root) else []
    return {path.removeprefix(f"{root}/"): files.cat_file(path) for path in found}


def edit(store: RemoteStore, ending: str, content: bytes | None) -> None:
    """Replace (or remove) the file at the location whose name ends so."""
    [name] = [name for name in files_of(store) if name.endswith(ending)]
    path = f"{store.remote.root}/{name}"
    store.remote.files.rm_file(path) if content is None else store.remote.files.pipe_file(path, content)


def test_what_one_machine_puts_another_takes_with_its_outcome_and_scores(store, other, model, tmp_path):
    store.put("f1", {"model": model}, OUTCOME)
    store.put_scores("e1", EVALUATION)
    assert other.has("f1")
    assert not other.holds("f1", tmp_path / "out")
    assert other.take("f1", tmp_path / "out") == OUTCOME == other.outcome("f1")
    assert (tmp_path / "out/model/weights.bin").read_bytes() == b"weights"
    assert (tmp_path / "out/model/inner/config.json").read_text() == "{}"
    assert other.holds("f1", tmp_path / "out")
    assert other.scores("e1") == {"math": 0.5}
    assert other.score_counts("e1") == {"evaluation/tasks/math": 20.0}


def test_what_is_nowhere_is_absent(store, tmp_path):
    assert not store.has("f1")
    assert store.scores("e1") is None
    with pytest.raises(StoreError, match="artifact f1 is not in the store"):
        store.take("f1", tmp_path / "out")


def test_asking_makes_no_folder(store, tmp_path):
    store.has("f1")
    store.scores("e1")
    assert not (tmp_path / "cache").exists()


def test_what_the_cache_has_is_not_fetched_again(outage, model, tmp_path):
    store = RemoteStore("outage://far/prefix", tmp_path / "cache")
    store.put("f1", {"model": model}, OUTCOME)
    outage.left = 0
    assert store.has("f1")
    assert store.take("f1", tmp_path / "out") == OUTCOME
    assert os.stat(tmp_path / "out/model/weights.bin").st_ino == os.stat(model / "weights.bin").st_ino


@pytest.mark.parametrize("content", [b"", b"w", b"Weights", None])
def test_a_damaged_object_is_refused_set_aside_and_can_be_made_anew(store, other, model, tmp_path, content):
    store.put("f1", {"model": model}, OUTCOME)
    edit(store, "weights.bin", content)
    assert not other.holds("f1", tmp_path / "out")  # looks, and leaves it to `take` to say what is wrong
    assert other.has("f1")
    with pytest.raises(StoreError, match=r"artifact f1 in the store '.*/prefix' is damaged at 'model/weights.bin'"):
        other.take("f1", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not other.has("f1")
    assert [name for name in files_of(other) if name.startswith("damaged/f1-")]
    other.put("f1", {"model": model}, OUTCOME)
    third = RemoteStore(store.location, tmp_path / "third-cache")
    assert third.take("f1", tmp_path / "out") == OUTCOME


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"{}", b'{"files": [], "outcome": {}, "folder": "x"}', b'{"files": {}, "outcome": {}}', b"\xff"],
)
def test_a_torn_manifest_counts_as_absent_and_is_replaced(store, other, model, tmp_path, content):
    store.put("f1", {"model": model}, OUTCOME)
    edit(store, "manifest.json", content)
    assert not other.has("f1")
    other.put("f1", {"model": model}, OUTCOME)
    third = RemoteStore(store.location, tmp_path / "third-cache")
    assert third.take("f1", tmp_path / "out") == OUTCOME


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"scores": {"a": "x"}}'])
def test_a_damaged_score_counts_as_absent(store, other, content):
    store.put_scores("e1", EVALUATION)
    edit(store, "e1.json", content)
    assert other.scores("e1") is None


def test_a_damaged_copy_in_the_cache_is_fetched_anew(store, model, tmp_path):
    store.put("f1", {"model": model}, OUTCOME)
    path = tmp_path / "cache/objects/f1/model/weights.bin"
    path.unlink()
    path.write_bytes(b"edited!")
    assert store.take("f1", tmp_path / "out") == OUTCOME
    assert (tmp_path / "out/model/weights.bin").read_bytes() == b"weights"
    assert (tmp_path / "cache/damaged-f1").exists()


@pytest.mark.parametrize("name", ["../../../escaped", "/escaped", "", ".", "a\0b"])
def test_a_manifest_that_points_outside_of_its_object_is_refused(store, other, model, tmp_path, name):
    store.put("f1", {"model": model}, OUTCOME)
    content = json.loads(files_of(store)["objects/f1/manifest.json"])
    edit(store, "manifest.json", json.dumps({**content, "files": {name: "0" * 64}}).encode())
    with pytest.raises(StoreError, match="outside of its object"):
        other.take("f1", tmp_path / "out")


@pytest.mark.parametrize(
    "folder", ["x/../../../../evil", "../f2/files-0123456789abcdef", "files-0123456789abcdef\n", ""]
)
def test_a_manifest_whose_folder_no_upload_wrote_leads_nowhere_and_is_replaced(store, other, model, tmp_path, folder):
    store.put("f1", {"model": model}, OUTCOME)
    content = json.loads(files_of(store)["objects/f1/manifest.json"])
    edit(store, "manifest.json", json.dumps({**content, "folder": folder}).encode())
    assert not other.has("f1")
    with pytest.raises(StoreError, match="artifact f1 is not in the store"):
        other.take("f1", tmp_path / "out")
    assert not list(tmp_path.rglob("*evil*"))
    assert all(name.startswith("objects/f1/") for name in files_of(store))
    other.put("f1", {"model": model}, OUTCOME)
    assert RemoteStore(store.location, tmp_path / "third-cache").take("f1", tmp_path / "out") == OUTCOME


def at_once(count: int, act: Callable[[int], object]) -> list[object]:
    """Do something in so many threads, which start together."""
    barrier = threading.Barrier(count)

    def started(number: int) -> object:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(started, range(count)))


@pytest.mark.parametrize("start", ["absent", "damaged", "torn"])
def test_runs_that_share_a_cache_take_the_same_object_at_the_same_time(tmp_path, model, start):
    url, cache = f"file://{tmp_path}/far", tmp_path / "cache"
    (model / "large.bin").write_bytes(b"x" * 2**20)
    writer = RemoteStore(url, tmp_path / "writer")
    for turn in range(10):
        writer.put(f"f{turn}", {"model": model}, OUTCOME)
        if start != "absent":
            RemoteStore(url, cache).take(f"f{turn}", tmp_path / f"first{turn}")
            path = cache / f"objects/f{turn}" / ("manifest.json" if start == "torn" else "model/weights.bin")
            path.unlink()
            path.write_bytes(b"{")

        def take(number: int, turn: int = turn) -> object:
            return RemoteStore(url, cache).take(f"f{turn}", tmp_path / f"out{turn}-{number}")

        assert at_once(6, take) == [OUTCOME] * 6
        for number in range(6):
            assert (tmp_path / f"out{turn}-{number}/model/weights.bin").read_bytes() == b"weights"
        assert writer.has(f"f{turn}")
    assert sorted(path.name for path in (cache / "objects").iterdir()) == sorted(f"f{turn}" for turn in range(10))
    assert len(list(cache.glob("damaged-*"))) == (0 if start == "absent" else 10)


def test_an_object_that_another_run_fetched_meanwhile_is_not_replaced(store, other, model, tmp_path, monkeypatch):
    store.put("f1", {"model": model}, OUTCOME)
    real, kept = other._remote_manifest, []

    def overtaken(fingerprint):
        found = real(fingerprint)
        if not kept:
            kept.append(0)
            RemoteStore(store.location, tmp_path / "other-cache").take("f1", tmp_path / "overtaking")
            kept.append((tmp_path / "other-cache/objects/f1").stat().st_ino)
        return found

    monkeypatch.setattr(other, "_remote_manifest", overtaken)
    assert other.take("f1", tmp_path / "out") == OUTCOME
    assert (tmp_path / "other-cache/objects/f1").stat().st_ino == kept[1]


TAKING = """
import sys
from pathlib import Path
from collegium.remote_store import RemoteStore

store, out = RemoteStore(sys.argv[1], Path(sys.argv[2])), Path(sys.argv[3])
print("ready", flush=True)
for turn in range(40):
    sys.stdin.readline()
    print(store.take(f"f{turn}", out / str(turn)) == {"rollouts": 3}, flush=True)
"""


def test_two_processes_that_share_a_cache_take_the_same_objects_at_the_same_time(tmp_path, model):
    url = f"file://{tmp_path}/far"
    for turn in range(40):
        RemoteStore(url, tmp_path / "writer").put(f"f{turn}", {"model": model}, {"rollouts": 3})
    command, pipe = [sys.executable, "-c", TAKING, url, str(tmp_path / "cache")], subprocess.PIPE
    processes = [
        subprocess.Popen([*command, str(tmp_path / name)], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for name in ("a", "b")
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    told = []
    for _ in range(40):
        for process in processes:
            if process.poll() is None:
                process.stdin.write("\n")
                process.stdin.flush()
        told.append([process.stdout.readline() for process in processes])
    ends = [process.communicate()[1] for process in processes]
    assert told == [["True\n", "True\n"]] * 40, ends


def test_two_writers_of_different_contents_leave_one_whole_object(store, other, model, tmp_path):
    store.put("f1", {"model": model}, OUTCOME)
    edit(store, "manifest.json", None)  # the other one looked before the first was done
    (tmp_path / "second").mkdir()
    (tmp_path / "second/weights.bin").write_bytes(b"other")
    other.put("f1", {"model": tmp_path / "second"}, OUTCOME)
    third = RemoteStore(store.location, tmp_path / "third-cache")
    third.take("f1", tmp_path / "out")
    assert (tmp_path / "out/model/weights.bin").read_bytes() == b"other"


@pytest.mark.parametrize("answered", range(4))
def test_an_outage_at_any_call_of_an_upload_loses_nothing_and_leaves_no_half_object(outage, model, tmp_path, answered):
    store = RemoteStore("outage://far/prefix", tmp_path / "cache")
    outage.left = answered  # reads the manifest, uploads two files, writes the manifest
    with pytest.raises(StoreError, match=r"cannot be reached: .*connection reset by peer") as caught:
        store.put("f1", {"model": model}, OUTCOME)
    assert "finished work is kept in the local cache" in str(caught.value)
    outage.left = 10**9
    elsewhere = RemoteStore("outage://far/prefix", tmp_path / "other-cache")
    assert not elsewhere.has("f1")
    again = RemoteStore("outage://far/prefix", tmp_path / "cache")  # a resume: it is not made a second time
    assert again.has("f1")
    assert not again.holds("f1", tmp_path / "out")
    assert elsewhere.take("f1", tmp_path / "out") == OUTCOME


def test_scores_of_an_outage_are_uploaded_later(outage, model, tmp_path):
    store = RemoteStore("outage://far/prefix", tmp_path / "cache")
    store.put("f1", {"model": model}, OUTCOME)
    outage.left = 0
    with pytest.raises(StoreError, match="cannot be reached"):
        store.put_scores("e1", EVALUATION)
    outage.left = 10**9
    elsewhere = RemoteStore("outage://far/prefix", tmp_path / "other-cache")
    assert elsewhere.scores("e1") is None
    store.holds("f1", tmp_path / "out")
    assert elsewhere.scores("e1") == {"math": 0.5}


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "other-f1"])
def test_a_stray_file_among_the_pending_uploads_is_left_alone(store, model, tmp_path, name):
    store.put("f1", {"model": model}, OUTCOME)
    (tmp_path / "cache/pending" / name).touch()
    assert store.take("f1", tmp_path / "out") == OUTCOME
    store.put("f2", {"model": model}, OUTCOME)
    assert [path.name for path in (tmp_path / "cache/pending").iterdir()] == [name]


@pytest.mark.parametrize("ask", ["has", "scores", "outcome", "holds"])
def test_a_store_that_cannot_be_reached_is_not_taken_for_an_empty_one(outage, model, tmp_path, ask):
    RemoteStore("outage://far/prefix", tmp_path / "cache").put("f1", {"model": model}, OUTCOME)
    elsewhere = RemoteStore("outage://far/prefix", tmp_path / "other-cache")
    outage.left = 0
    arguments = ("f1", tmp_path / "out") if ask == "holds" else ("f1",)
    with pytest.raises(StoreError, match="the store 'outage://far/prefix' cannot be reached"):
        getattr(elsewhere, ask)(*arguments)


def test_an_outage_in_the_middle_of_a_download_leaves_the_object_and_no_half_copy(outage, model, tmp_path):
    RemoteStore("outage://far/prefix", tmp_path / "cache").put("f1", {"model": model}, OUTCOME)
    elsewhere = RemoteStore("outage://far/prefix", tmp_path / "other-cache")
    outage.left = 3
    with pytest.raises(StoreError, match="cannot be reached: downloading"):
        elsewhere.holds("f1", tmp_path / "out")
    assert list((tmp_path / "other-cache/objects").iterdir()) == []
    outage.left = 10**9
    assert elsewhere.take("f1", tmp_path / "out") == OUTCOME


KILLED = """
import os, signal, sys
from pathlib import Path
from fsspec.implementations.local import LocalFileSystem
from collegium.remote_store import RemoteStore

url, cache, model, left = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])

def counted(real):
    def call(*args, **kwargs):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*args, **kwargs)
    return call

LocalFileSystem.put_file = counted(LocalFileSystem.put_file)
LocalFileSystem.pipe_file = counted(LocalFileSystem.pipe_file)
RemoteStore(url, cache).put("f1", {"model": model}, {"rollouts": 3})
"""


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_kill_between_two_files_leaves_no_half_object_and_the_next_run_completes_it(model, tmp_path, left):
    url, cache = f"file://{tmp_path}/far", tmp_path / "cache"
    done = subprocess.run([sys.executable, "-c", KILLED, url, str(cache), str(model), str(left)], check=False)
    assert done.returncode == -signal.SIGKILL
    elsewhere = RemoteStore(url, tmp_path / "other-cache")
    assert not elsewhere.has("f1")
    RemoteStore(url, cache).holds("f1", tmp_path / "out")
    assert elsewhere.take("f1", tmp_path / "out") == {"rollouts": 3}
    assert (tmp_path / "out/model/weights.bin").read_bytes() == b"weights"


def test_an_upload_that_arrives_cut_is_an_error(store, model, monkeypatch):
    kind = type(store.remote.files)
    real = kind.put_file

    def cut(self, source, target, **kwargs):
        real(self, source, target, **kwargs)
        self.pipe_file(target, Path(source).read_bytes()[:-1])

    monkeypatch.setattr(kind, "put_file", cut)
    with pytest.raises(StoreError, match="bytes arrived"):
        store.put("f1", {"model": model}, OUTCOME)
    assert "objects/f1/manifest.json" not in files_of(store)


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:secret@bucket/prefix", "sftp://me:a/b@host/prefix", "ftp://:secret@host/x",
        "gs://bucket/x?token=secret", "simplecache::ftp://me:secret@host/x", "s3://AKIA:123/secret@bucket/x",
        "s3://tok_secret@bucket/x", "s3://bucket/x#secret", "s3://bucket/x;key=secret", "s3://b/%3Ftoken=secret",
        "s3://b/%3ftoken=secret", "s3://secret%40bucket/x", "secret@s3://bucket/x",
    ],
)  # fmt: skip
def test_a_url_that_may_hold_a_secret_is_refused_without_showing_it(url, tmp_path):
    with pytest.raises(StoreError, match="environment") as caught:
        RemoteStore(url, tmp_path / "cache")
    for part in ("secret", "a/b", "AKIA", "bucket", "host", "://b"):
        assert part not in str(caught.value)


def test_a_relative_url_that_its_resume_would_refuse_is_refused_at_once(tmp_path, monkeypatch):
    (tmp_path / "me@work").mkdir()
    monkeypatch.chdir(tmp_path / "me@work")
    with pytest.raises(StoreError, match="the store's URL has '@' in it"):
        Location("file://far")


def test_a_port_is_no_password(tmp_path):
    assert RemoteStore("memory://host:9000/prefix", tmp_path / "cache").location == "memory://host:9000/prefix"


@pytest.mark.parametrize(
    ("url", "missing", "message"),
    [
        ("memory://x", "fsspec", "pip install fsspec"),
        ("sftp://host/x", "paramiko", "paramiko"),
        ("nonsense://x", "", "Protocol not known: nonsense"),
    ],
)
def test_what_is_missing_for_a_url_is_said(monkeypatch, url, missing, message):
    if missing:
        for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, missing, None)
        monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    with pytest.raises(StoreError, match=message):
        Location(url)


def test_a_relative_file_url_means_the_same_folder_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Location("file://far/prefix").url == f"file://{tmp_path}/far/prefix"
    assert is_url("file://far")
    assert not is_url("/far/away")


def test_a_location_that_cannot_be_written_or_has_another_layout_is_refused_before_anything_is_made(
    store, outage, tmp_path
):
    store.require_writable()
    store.require_writable()
    edit(store, "collegium-store.json", b'{"collegium_store": 2}')
    with pytest.raises(StoreError, match="has another layout"):
        store.require_writable()
    outage.left = 1
    with pytest.raises(StoreError, match="cannot be reached: writing"):
        RemoteStore("outage://far/prefix", tmp_path / "cache").require_writable()
