"""Models of text and pictures: what they read, where pictures go, and what is refused."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from collegium import DataError, Engine, EngineError, Generation, PolicyError, Sample, SamplingParams, Task
from collegium.builtin_components.engine import TransformersEngine
from collegium.errors import ConfigError
from collegium.testing.stages import TOY_MODEL, toy_model
from collegium.training.batch import RolloutBatch, collate
from collegium.training.generation import generate
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.packing import Example, pack, pad
from collegium.training.scoring import check_handshake
from collegium.training.shared_prompts import share_prompts
from collegium.training.supervised import expanded, trained_logprobs
from collegium.training.supervised_data import to_example

PICTURE_TOKENS = 4
CLIP = {
    "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
}  # fmt: skip


def picture(*colour: int) -> bytes:
    """A picture whose left half is black."""
    image = Image.new("RGB", (16, 16), colour)
    image.paste((0, 0, 0), (0, 0, 8, 16))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


RED, BLUE, GREEN = picture(255, 0, 0), picture(0, 0, 255), picture(0, 255, 0)


def spec(tower: str = "clip_vision_model", **text: Any) -> ModelSpec:
    sizes = {
        "text_config": {"model_type": "llama", **TOY_MODEL["sizes"], **text},
        "vision_config": {**CLIP, "model_type": tower},
    }
    return ModelSpec(architecture="llava", sizes=sizes, tokenizer={"characters": "abcdefghijklmnop?= "})


@pytest.fixture(scope="module", params=["clip_vision_model", "siglip_vision_model"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return initialise(spec(request.param), 0)


def batch_of(model: LanguageModel, rows: list[tuple[str, tuple[bytes, ...], str]]) -> RolloutBatch:
    """A batch of prompts with their pictures and completions, the same prompt being one group."""
    tasks = [Task(f"{index}", prompt, images=images) for index, (prompt, images, _) in enumerate(rows)]
    ids = [to_example(model.tokenizer, "a", text, "x").token_ids[1:] for _, _, text in rows]
    made = [Generation(tuple(each), (0.0,) * len(each), "stop", 0) for each in ids]
    return collate([model.prompt_ids(task) for task in tasks], made, [Sample(task) for task in tasks], [], pad_id=0)


def test_logprobs_behind_pictures_are_those_of_plain_transformers(model, tmp_path):
    model.save(tmp_path)
    plain, processor = AutoModelForImageTextToText.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    ours = model.completion_logprobs(batch_of(model, [("a<image>b<image>?", (RED, BLUE), "cab")]))
    images = [Image.open(io.BytesIO(each)) for each in (RED, BLUE)]
    given = processor(text="a<image>b<image>?cab", images=images, return_tensors="pt")
    ids = torch.cat([given["input_ids"], torch.tensor([[model.tokenizer.eos_token_id]])], dim=1)
    assert ids.shape[1] == 3 + 2 * PICTURE_TOKENS + 4
    with torch.no_grad():
        logits = plain(input_ids=ids, pixel_values=given["pixel_values"]).logits
    theirs = logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[-4:, 0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_another_picture_gives_other_logprobs(model):
    one, other = (model.completion_logprobs(batch_of(model, [("<image>?", (image,), "ab")])) for image in (RED, BLUE))
    assert float((one - other).detach().abs().max()) > 1e-4


MIXED = [
    ("<image>?", (RED,), "ab"),
    ("hello", (), "abcd"),
    ("<image>?", (BLUE,), "ab"),
    ("<image>?", (RED,), "bbbb"),
    ("a<image>b<image>", (GREEN, RED), "c"),
    ("<image>?", (BLUE,), "a"),
    ("<image>?", (RED,), "<image>a<image>"),  # the model may sample the placeholder: that is no picture
    ("hello", (), "<image>b"),
    ("<image>?", (RED,), "dd"),
]


def test_rows_of_a_mixed_batch_read_their_own_pictures(model):
    batch, results = batch_of(model, MIXED), []
    assert share_prompts(batch, model.width) is not None

    def one_by_one(whole: RolloutBatch) -> torch.Tensor:
        return torch.cat([model.completion_logprobs(whole.select([row])) for row in range(len(whole))])

    for run in (model.completion_logprobs, one_by_one):
        model.model.zero_grad()
        logprobs = run(batch)
        (logprobs * torch.linspace(-1, 1, len(logprobs))).sum().backward()
        gradient = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
        results.append((logprobs.detach(), gradient))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-5, rtol=1e-4)
    unread = [name for name, weight in model.model.named_parameters() if weight.grad is None and weight.requires_grad]
    assert unread == []


def test_one_text_under_two_pictures_is_two_prompts(model):
    shared = share_prompts(batch_of(model, MIXED), model.width)
    assert shared is not None
    assert shared.images == [(RED,), (), (BLUE,), (GREEN, RED)]


def test_pictures_go_with_their_rows(model):
    batch = batch_of(model, MIXED)
    assert batch.select([4, 1, 2]).to("cpu").images == [(GREEN, RED), (), (BLUE,)]
    chosen = model.logprobs(batch.select([4, 1, 2]))
    torch.testing.assert_close(chosen, model.logprobs(batch)[[4, 1, 2], : chosen.shape[1]], atol=1e-5, rtol=0)


def test_packed_examples_read_their_own_pictures(model):
    examples = expanded(
        model, [to_example(model.tokenizer, prompt, text, "x", images) for prompt, images, text in MIXED[:6]]
    )
    alone = {example: trained_logprobs(model, [[example]]) for example in examples}
    for rows in (pack(examples, 40), pad(examples)):
        wanted = torch.cat([alone[example] for row in rows for example in row])
        torch.testing.assert_close(trained_logprobs(model, rows), wanted, atol=1e-5, rtol=0)


def test_tokens_of_pictures_are_never_trained(model):
    ids = [*to_example(model.tokenizer, "<image>ab<image>c", "d", "x").token_ids]
    (example,) = expanded(model, [Example(tuple(ids), 1, images=(RED, BLUE))])
    assert expanded(model, [example]) == [example]
    assert example.start == PICTURE_TOKENS
    assert len(example.token_ids) == 2 * PICTURE_TOKENS + 5
    assert example.trained_tokens == 5  # a, b, c, d and the end
    assert len(trained_logprobs(model, [[example]])) == 5


def test_what_the_engine_samples_behind_pictures_is_what_the_trainer_scores(model):
    engine = TransformersEngine()
    engine.sync(model, 0)
    tasks = [Task(f"{row}", prompt, images=images) for row, (prompt, images, _) in enumerate(MIXED)]
    prompts, images = [model.prompt_ids(task) for task in tasks], [task.images for task in tasks]
    made = generate(engine, prompts, SamplingParams(max_tokens=12), range(len(tasks)), images)
    batch = collate(prompts, made, [Sample(task) for task in tasks], [], pad_id=0)
    assert model.vision is not None
    assert (batch.token_ids[batch.completion_mask] == model.vision.token_id).any(), "none sampled the placeholder"
    assert check_handshake(model, batch, tolerance=1e-4) < 1e-5
    alone = generate(engine, prompts[2:3], SamplingParams(max_tokens=12), [2], images[2:3])
    assert alone[0].token_ids == made[2].token_ids


def test_a_picture_changes_what_is_sampled(model):
    engine = TransformersEngine()
    engine.sync(model, 0)
    prompt = model.prompt_ids(Task("t", "<image>?", images=(RED,)))
    red, blue = generate(engine, [prompt] * 2, SamplingParams(max_tokens=4), [5, 5], [(RED,), (BLUE,)])
    assert red.logprobs != blue.logprobs


def test_a_saved_model_is_loaded_with_its_processor(model, tmp_path):
    batch = batch_of(model, MIXED)
    model.save(tmp_path / "plain")
    model.save(tmp_path / "given", model.state_dict())
    for folder in ("plain", "given"):
        loaded = LanguageModel.load(tmp_path / folder)
        assert loaded.vision is not None
        assert loaded.context_length == 64
        torch.testing.assert_close(loaded.logprobs(batch), model.logprobs(batch), atol=1e-6, rtol=0)
    copy = model.replica()
    copy.model.load_state_dict(model.state_dict())
    torch.testing.assert_close(copy.logprobs(batch), model.logprobs(batch), atol=1e-6, rtol=0)


def test_an_untied_head_is_saved_too(tmp_path):
    model = initialise(spec(tie_word_embeddings=False), 0)
    model.save(tmp_path)
    batch = batch_of(model, MIXED)
    torch.testing.assert_close(LanguageModel.load(tmp_path).logprobs(batch), model.logprobs(batch), atol=1e-6, rtol=0)


def test_a_model_of_text_alone_refuses_pictures(model):
    with pytest.raises(PolicyError, match="LlamaForCausalLM\\) reads text alone, and 1 of the prompts"):
        toy_model().prompt_ids(Task("t", "abc", images=(RED,)))
    with pytest.raises(PolicyError, match="reads text alone, and 7 of the prompts have pictures"):
        toy_model().logprobs(batch_of(model, MIXED))
    example = to_example(model.tokenizer, "<image>", "a", "x", (RED,))
    with pytest.raises(PolicyError, match="reads text alone"):
        expanded(toy_model(), [example])


@pytest.mark.parametrize(
    ("prompt", "images", "message"),
    [
        ("no place", (RED,), "1 pictures and 0 placeholders '<image>'"),
        ("<image><image>", (RED,), "1 pictures and 2 placeholders"),
        ("<image>", (), "0 pictures and 1 placeholders"),
        ("<image>", (RED[:40],), "a task's picture of 40 bytes cannot be read as PNG"),
        ("<image>", (b"GIF89a",), "cannot be read as PNG"),
    ],
)
def test_pictures_that_the_prompt_does_not_show_are_refused(model, prompt, images, message):
    with pytest.raises(DataError, match=message):
        model.prompt_ids(Task("t", prompt, images=images))


def test_an_engine_that_takes_no_pictures_is_refused_where_there_are_some(model):
    class Blind(Engine):
        """Samples one token."""

        def generate(self, prompts: Any, sampling: Any, seeds: Any) -> Any:
            return [Generation((1,), (-1.0,), "stop", 0) for _ in prompts]

    assert len(generate(Blind(), [[2], [3]], SamplingParams(), [0, 1], [(), ()])) == 2
    with pytest.raises(EngineError, match="Blind reads token ids alone; 1 of 2 prompts have pictures"):
        generate(Blind(), [[2], [3]], SamplingParams(), [0, 1], [(RED,), ()])


def test_a_model_that_cuts_pictures_otherwise_refuses_the_batch(model):
    sizes = {**spec().sizes, "vision_config": {**CLIP, "patch_size": 4}}
    other = initialise(spec().model_copy(update={"sizes": sizes}), 0)
    with pytest.raises(PolicyError, match="makes 16 features of 1 pictures, and 4 tokens stand for them"):
        other.logprobs(batch_of(model, MIXED[:1]))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({}, "no text_config.model_type and no vision_config.model_type"),
        ({"text_config": {"model_type": "llama", "width": 3}}, "no vision_config.model_type"),
        ({**spec().sizes, "depth": 3}, "model.sizes.depth is not an option of LlavaConfig"),
        ({**spec().sizes, "text_config": {"model_type": "llama", "width": 3}}, "text_config.width is not an option"),
        ({**spec().sizes, "vision_config": {"model_type": "llama"}}, "'llama' is no tower"),
        ({**spec().sizes, "vision_config": {**CLIP, "patch_size": 7}}, "cuts 16 pixels into patches of 7"),
    ],
)  # fmt: skip
def test_sizes_that_make_no_model_are_refused(sizes, message):
    with pytest.raises(ConfigError, match=message):
        initialise(ModelSpec(architecture="llava", sizes=sizes), 0)


def test_the_lab_model_of_pictures_is_the_lab_decoder_behind_a_tower():
    built = initialise(ModelSpec(architecture="llava"), 0)
    decoder = initialise(ModelSpec(), 0)
    towers = sum(weight.numel() for name, weight in built.model.named_parameters() if "language_model" not in name)
    extra = built.vocabulary - decoder.vocabulary
    assert extra == 1
    assert built.width == decoder.width == 128
    own = sum(weight.numel() for weight in built.parameters()) - towers
    assert own == sum(weight.numel() for weight in decoder.parameters()) + extra * 128
    assert ModelSpec(architecture="qwen3").sizes == ModelSpec().sizes
