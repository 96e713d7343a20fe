"""The sizes of a decoder, from which memory is estimated (light: no torch)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from collegium.component import Config


class ModelShape(Config):
    """Sizes of a decoder like Llama's: RMSNorm, rotary positions, grouped attention, a gated MLP of three matrices."""

    layers: int = Field(ge=1)
    """Decoder layers."""
    hidden: int = Field(ge=1)
    """Width of the residual stream."""
    heads: int = Field(ge=1)
    """Query heads of a layer."""
    kv_heads: int | None = Field(default=None, ge=1)
    """Key and value heads; none: as many as `heads`."""
    head_dim: int | None = Field(default=None, ge=1)
    """Width of a head; none: `hidden` over `heads`."""
    intermediate: int = Field(ge=1)
    """Inner width of the MLP; with `experts`, of one expert."""
    vocabulary: int = Field(ge=1)
    """Rows of the embeddings."""
    context: int | None = Field(default=None, ge=1)
    """Most tokens of a sequence."""
    tied: bool = False
    """Whether the LM head is the embeddings."""
    qk_norm: bool = False
    """Whether queries and keys are normalised per head, as in Qwen3."""
    qkv_bias: bool = False
    """Whether queries, keys and values have a bias, as in Qwen2."""
    experts: int = Field(default=1, ge=1)
    """Experts of a layer; 1 is a dense MLP."""
    parameters: int | None = Field(default=None, ge=1)
    """All weights; none: counted from the sizes, exactly for a dense model."""
    active_parameters: int | None = Field(default=None, ge=1)
    """Weights that a token meets; needed with `experts`."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Precision of the checkpoint, in which a teacher is loaded."""

    @property
    def query_width(self) -> int:
        """Width of a token's queries over all heads."""
        return self.heads * self._head_dim

    @property
    def kv_width(self) -> int:
        """Width of a token's keys over all heads, and of its values."""
        return (self.kv_heads or self.heads) * self._head_dim

    @property
    def kv_count(self) -> int:
        """Key and value heads of a layer."""
        return self.kv_heads or self.heads

    @property
    def _head_dim(self) -> int:
        return self.head_dim or self.hidden // self.heads

    @property
    def embeddings(self) -> int:
        """Weights of the embeddings."""
        return self.vocabulary * self.hidden

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer: where all are given, an equal share of those outside the embeddings."""
        if self.parameters is not None:
            outside = self.parameters - self._ends
            return max(0, outside) // self.layers
        return self._attention + self.experts * self._mlp + self._router

    @property
    def count(self) -> int:
        """All weights: as given, else counted; a head that is the embeddings counts once."""
        return self.parameters or self.layers * self.layer_parameters + self._ends

    @property
    def active_intermediate(self) -> int | None:
        """Inner width of the MLP that a token meets; none where experts come without `active_parameters`."""
        if self.experts == 1:
            return self.intermediate
        if self.active_parameters is None:
            return None
        in_layer = (self.active_parameters - self._ends) / self.layers
        return max(0, round((in_layer - self._attention - self._router) / (3 * self.hidden)))

    @property
    def _ends(self) -> int:
        """Embeddings, final norm and head."""
        return self.embeddings * (1 if self.tied else 2) + self.hidden

    @property
    def _attention(self) -> int:
        """Four projections with their biases, the norms of queries and keys, and the layer's two norms."""
        projections = 2 * self.hidden * (self.query_width + self.kv_width)
        biases = self.query_width + 2 * self.kv_width if self.qkv_bias else 0
        return projections + biases + (2 * self._head_dim if self.qk_norm else 0) + 2 * self.hidden

    @property
    def _mlp(self) -> int:
        return 3 * self.hidden * self.intermediate

    @property
    def _router(self) -> int:
        return self.hidden * self.experts if self.experts > 1 else 0
