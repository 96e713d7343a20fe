"""A real vLLM server: its log-probs are the checkpoint's, and its handshake tells the right server from a wrong one."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from collegium.builtin_components.teacher import CheckpointTeacher
from collegium.errors import TeacherError
from collegium.testing.stages import toy_model
from collegium.training.initialise import initialise
from collegium.training.model_spec import ModelSpec
from collegium_teacher_served.teacher import ServedTeacher

pytestmark = [pytest.mark.engines, pytest.mark.slow]
KEY = "sk-vllm-test-key"
TEXT = "the teacher reads what the student wrote, token by token, and says how likely it finds each of them. "
SIZES = {"hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_API_KEY": KEY,
}
START_S = 240


def save_tokenizer(folder: Path, text: str) -> None:
    """Train a byte-level tokenizer on a text and save it."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet)
    inner.train_from_iterator([text] * 4, trainer)
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>").save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A teacher, the same with other weights, and another tokenizer."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    root = tmp_path_factory.mktemp("vllm")
    save_tokenizer(root / "tokenizer", TEXT)
    save_tokenizer(root / "other-tokenizer", TEXT[::-1])
    spec = {"architecture": "llama", "tokenizer": {"path": str(root / "tokenizer")}}
    sizes = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 256, "tie_word_embeddings": False}
    for name, seed in {"teacher": 1, "other-weights": 2}.items():
        model = initialise(ModelSpec(**spec, sizes=sizes), seed)
        with torch.no_grad():
            model.head.mul_(10)  # so that log-probs differ widely
        model.save(root / name)
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="module")
def url(folders, tmp_path_factory) -> Iterator[str]:
    """Start vLLM's server and end it, with all the processes that it started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folders["teacher"])]
    command += ["--served-model-name", "teacher", "--dtype", "float32", "--enforce-eager", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--max-model-len", "128", "--max-num-seqs", "16"]
    log = tmp_path_factory.mktemp("log") / "vllm.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **CPU}, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    root = f"http://127.0.0.1:{port}"
    try:
        await_health(process, root, log)
        yield root
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def await_health(process: subprocess.Popen[bytes], root: str, log: Path) -> None:
    """Wait until the server is well; show its log if it is not."""
    for _ in range(START_S):
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{root}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    pytest.fail(f"vLLM did not start: {log.read_text()[-3000:]}")


@pytest.fixture
def served(url, folders, monkeypatch):
    """Return a function that makes a teacher of the vLLM server."""
    monkeypatch.setenv("VLLM_TEST_KEY", KEY)
    made = []

    def make(**options):
        base = {"url": url, "model": "teacher", "tokenizer": str(folders["tokenizer"]), "api_key_env": "VLLM_TEST_KEY"}
        made.append(ServedTeacher({**base, **options}))
        return made[-1]

    yield make
    for teacher in made:
        teacher.close()


@pytest.fixture(scope="module")
def sampled(folders):
    """Return prompts and completions of many lengths, up to the server's longest."""
    generator = torch.Generator().manual_seed(0)

    def draw(count):
        return torch.randint(2, 300, (count,), generator=generator).tolist()

    return [(draw(1 + 5 * row % 17), draw(1 + 7 * row % 60)) for row in range(24)] + [(draw(60), draw(67))]


def test_log_probs_are_those_of_the_local_checkpoint(served, folders, sampled, make_batch):
    batch = make_batch(sampled)
    teacher = served(checkpoint=str(folders["teacher"]), tolerance=1e-3)
    teacher.open()
    found = teacher.logprobs(batch)
    local = CheckpointTeacher({"path": str(folders["teacher"])})
    local.open()
    expected = local.logprobs(batch)
    gap = float((found - expected).abs().max())
    print(f"largest difference of {int(batch.completion_mask.sum())} log-probs: {gap:.2e}")
    assert gap < 1e-3
    assert float(expected[batch.completion_mask].std()) > 0.5
    assert not found[~batch.completion_mask].any()


def test_another_tokenizer_is_caught(served, folders):
    with pytest.raises(TeacherError, match=r"another tokenizer than the folder .* of the text"):
        served(tokenizer=str(folders["other-tokenizer"])).open()


def test_other_weights_are_caught(served, folders):
    with pytest.raises(TeacherError, match="does not serve checkpoint"):
        served(checkpoint=str(folders["other-weights"])).open()


def test_another_model_name_and_another_key_are_caught(served, monkeypatch):
    with pytest.raises(TeacherError, match="does not serve 'qwen'; it serves: teacher"):
        served(model="qwen").open()
    monkeypatch.setenv("VLLM_TEST_KEY", "sk-another-key")
    with pytest.raises(TeacherError, match="it answered 401") as caught:
        served().open()
    assert "sk-another-key" not in str(caught.value)


def test_a_sequence_longer_than_the_servers_context_is_an_error_that_says_so(served, make_batch):
    teacher = served()
    teacher.open()
    with pytest.raises(TeacherError, match=r"it answered 400: .*128"):
        teacher.logprobs(make_batch([([3] * 100, [4] * 60)]))


def test_a_token_outside_the_servers_vocabulary_is_an_error_that_says_so(served, make_batch):
    teacher = served()
    teacher.open()
    with pytest.raises(TeacherError, match=r"it answered 400: .*out of vocabulary"):
        teacher.logprobs(make_batch([([3, 4], [5000])]))


def test_a_student_with_another_tokenizer_is_told_apart(served):
    assert served().identity().difference(toy_model().identity)
