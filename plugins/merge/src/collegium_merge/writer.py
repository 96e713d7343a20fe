"""The merged model as a folder that `from_pretrained` reads, written one file after the other."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from collegium_merge.source import INDEX, SourceModel

GENERATION = "generation_config.json"


def write_model(folder: Path, like: SourceModel, tensor_of: Callable[[str], Tensor]) -> None:
    """Write a model whose config, tokenizer and division into files are those of another one.

    One file's tensors are in memory at a time.

    Args:
        folder: Where to; it exists.
        like: The model whose shape it has.
        tensor_of: Gives each tensor.
    """
    dtypes: set[torch.dtype] = set()
    size = 0
    for file in sorted(set(like.files.values())):
        names = [name for name, stored_in in like.files.items() if stored_in == file]
        tensors = {name: tensor_of(name).contiguous() for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        dtypes |= {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
        size += sum(math.prod(tensor.shape) * tensor.element_size() for tensor in tensors.values())
    if (like.folder / INDEX).is_file():
        index = {"metadata": {"total_size": size}, "weight_map": like.files}
        (folder / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True), encoding="utf-8")
    config = like.config
    config.dtype = reduce(torch.promote_types, dtypes)
    config.save_pretrained(str(folder))
    like.tokenizer.save_pretrained(str(folder))
    if (like.folder / GENERATION).is_file():
        shutil.copyfile(like.folder / GENERATION, folder / GENERATION)
