"""A saved model read tensor by tensor, and whether several are of one kind.

Only safetensors files are read, and only the tensor that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from collegium import PolicyError
from collegium.model_files import check_model_folder, is_local
from collegium.training.tokenizers import TokenizerIdentity
from collegium_merge.config import OWNER

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FETCHED = ["*.json", "*.safetensors", "*.model", "*.jinja"]
NEUTRAL = frozenset({"_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache"})
"""Entries of a configuration that say nothing about the network."""


@dataclass(frozen=True)
class SourceModel:
    """A saved model.

    Args:
        name: What the recipe calls it.
        path: Its folder, or hub name.
    """

    name: str
    path: str

    @cached_property
    def folder(self) -> Path:
        """The folder, checked; a model of the hub is fetched or taken from the hub's cache."""
        if is_local(self.path):
            check_model_folder(self.path)
            return Path(self.path)
        return Path(self._loaded(partial(snapshot_download, allow_patterns=FETCHED), self.path))

    @cached_property
    def config(self) -> PreTrainedConfig:
        """The configuration, with its architecture's defaults filled in."""
        config: PreTrainedConfig = self._loaded(AutoConfig.from_pretrained, str(self.folder))
        return config

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        tokenizer: PreTrainedTokenizerBase = self._loaded(AutoTokenizer.from_pretrained, str(self.folder))
        return tokenizer

    @property
    def architecture(self) -> str:
        """The name of its class in `transformers`."""
        return (self.config.architectures or ["unknown"])[0]

    @cached_property
    def files(self) -> dict[str, str]:
        """Tensor to the file that holds it; a tensor that is tied to another one is left out.

        Raises:
            PolicyError: If the weights are not in safetensors files, or a tied tensor differs from its twin.
        """
        stored = self._stored()
        for tied, twin in self._tied.items():
            if tied in stored and twin in stored:
                if not torch.equal(self._load(tied, stored), self._load(twin, stored)):
                    raise PolicyError(
                        f"model {self.name!r}: {tied!r} differs from {twin!r}, and its config ties them",
                        fix="set tie_word_embeddings: false in its config.json if they are meant to differ",
                        owner=OWNER,
                    )
                del stored[tied]
        return stored

    @cached_property
    def shapes(self) -> dict[str, list[int]]:
        """Tensor to its shape."""
        found: dict[str, list[int]] = {}
        for file in sorted(set(self.files.values())):
            with safe_open(self.folder / file, "pt") as content:
                names = (name for name in content.keys() if self.files.get(name) == file)  # noqa: SIM118 : not a dict
                found |= {name: list(content.get_slice(name).get_shape()) for name in names}
        return found

    def read(self, name: str) -> Tensor:
        """Return a tensor as it is stored."""
        return self._load(name, self.files)

    def _load(self, name: str, files: Mapping[str, str]) -> Tensor:
        with safe_open(self.folder / files[name], "pt") as content:
            tensor: Tensor = content.get_tensor(name)
            return tensor

    def _loaded(self, load: Callable[[str], Any], path: str) -> Any:
        """Load something of the model; what goes wrong is said to be this model's."""
        try:
            return load(path)
        except Exception as error:  # the libraries raise many kinds
            raise PolicyError(
                f"model {self.name!r} at {path!r} cannot be loaded: {type(error).__name__}: {error}",
                fix="check the path or hub name; a truncated download has to be fetched again",
                owner=OWNER,
            ) from error

    def _stored(self) -> dict[str, str]:
        if (self.folder / INDEX).is_file():
            index: dict[str, Any] = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
            return dict(index["weight_map"])
        if not (self.folder / SINGLE).is_file():
            raise PolicyError(
                f"model {self.name!r} in {str(self.folder)!r} has no safetensors file, which merging reads",
                fix="load it and save it again with save_pretrained",
                owner=OWNER,
            )
        with safe_open(self.folder / SINGLE, "pt") as content:
            return dict.fromkeys(content.keys(), SINGLE)

    @property
    def _tied(self) -> dict[str, str]:
        """Tied tensor to its twin, as the architecture has it; found without weights."""
        architecture = getattr(transformers, self.architecture, None)
        if architecture is None:
            raise PolicyError(
                f"model {self.name!r} is of architecture {self.architecture!r}, which transformers does not have",
                fix="merge models of an architecture that transformers has",
                owner=OWNER,
            )
        with torch.device("meta"):
            return dict(architecture(self.config).all_tied_weights_keys)


def check_alike(models: Sequence[SourceModel]) -> None:
    """Check that models have one configuration, one tokenizer, and the same tensors.

    Raises:
        PolicyError: If one differs from the first; names the entry, token or tensor.
    """
    first = models[0]
    for other in models[1:]:
        difference = (
            _configs_differ(first.config.to_dict(), other.config.to_dict())
            or TokenizerIdentity.of(first.tokenizer).difference(TokenizerIdentity.of(other.tokenizer))
            or _tensors_differ(first.shapes, other.shapes)
        )
        if difference:
            raise PolicyError(
                f"models {first.name!r} (here) and {other.name!r} (there) cannot be merged: {difference}",
                fix="merge models that come from one model",
                owner=OWNER,
            )


def _configs_differ(here: Mapping[str, Any], there: Mapping[str, Any]) -> str | None:
    for key in sorted((here.keys() | there.keys()) - NEUTRAL):
        if here.get(key) != there.get(key):
            return f"config entry {key!r} is {here.get(key)!r} here and {there.get(key)!r} there"
    return None


def _tensors_differ(here: Mapping[str, list[int]], there: Mapping[str, list[int]]) -> str | None:
    for name in sorted(here.keys() ^ there.keys()):
        return f"tensor {name!r} exists only {'here' if name in here else 'there'}"
    for name, shape in here.items():
        if shape != there[name]:
            return f"tensor {name!r} is {shape} here and {there[name]} there"
    return None
