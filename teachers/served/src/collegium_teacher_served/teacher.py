"""The teacher `served`: a model behind a server that scores token ids.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from collegium import Teacher, TeacherError
from collegium.training.tokenizers import TokenizerIdentity
from collegium_teacher_served.config import ServedTeacherConfig
from collegium_teacher_served.failures import OWNER
from collegium_teacher_served.formats import Format, format_of
from collegium_teacher_served.handshake import greet
from collegium_teacher_served.local_probe import local_probe
from collegium_teacher_served.sequences import Rows, TokenSequence
from collegium_teacher_served.session import Requests, Session, all_of

if TYPE_CHECKING:
    from collegium.training.batch import RolloutBatch


class ServedTeacher(Teacher):
    """Ask a server for the log-probs of the rollouts; the first `open` makes sure that it is the right server."""

    Config = ServedTeacherConfig
    deterministic: ClassVar[bool] = False
    """A server may batch otherwise each time, which moves the last digits."""
    network: ClassVar[bool] = True

    _session: Session | None = None
    _greeted = False

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.config.tokenizer_folder())
        except Exception as error:
            raise TeacherError(
                f"the tokenizer of served teacher {self.config.model!r} cannot be loaded from "
                f"{self.config.tokenizer_folder()!r}: {error}",
                fix="point tokenizer to a folder with the tokenizer that the server uses",
                owner=OWNER,
            ) from error
        return tokenizer

    @cached_property
    def _identity(self) -> TokenizerIdentity:
        return TokenizerIdentity.of(self._tokenizer)

    def identity(self) -> TokenizerIdentity:
        """Read the local tokenizer's identity; the handshake compares it with the server's."""
        return self._identity

    def open(self) -> None:
        """Connect; the first time, check the server.

        Raises:
            ConfigError: If the key or the authority's certificate is missing.
            TeacherError: If the server fails, or serves another model or tokenizer.
        """
        self._session = self._session or Session(self.config)
        if self._greeted:
            return
        try:
            self._check(self._session)
        except BaseException:
            self.close()
            raise
        self._greeted = True

    def _check(self, session: Session) -> None:
        """Check model and tokenizer; and the weights, where the recipe names them."""
        session.run(lambda requests: greet(requests, self.config.model, self._tokenizer))
        if self.config.checkpoint is not None:
            probe = local_probe(self.config.checkpoint, list(self._identity.tokens))
            served = session.run(lambda requests: self._score(requests, probe.sequences))
            probe.compare(served, self.config.tolerance, self.config.checkpoint)

    def logprobs(self, batch: RolloutBatch) -> Tensor:
        """Return log p(token), ``[B, T]``, zero outside the completions; all of them or an error.

        Raises:
            TeacherError: If the server fails to the end, its reply is not exactly what was asked for, or rows have
                pictures.
        """
        if self._session is None:
            raise TeacherError(f"served teacher {self.config.model!r} is closed", fix="open it first", owner=OWNER)
        if shown := sum(map(bool, batch.images)):
            raise TeacherError(
                f"served teacher {self.config.model!r} at {self.config.url} is sent token ids alone, and {shown} rows "
                "have pictures",
                fix="use the teacher `checkpoint` for domains with pictures",
                owner=OWNER,
            )

        async def score(requests: Requests) -> Tensor:
            rows = Rows.of(batch)
            return rows.scatter(await self._score(requests, rows.sequences), batch.completion_mask)

        return self._session.run(score)

    async def _score(self, requests: Requests, sequences: list[TokenSequence]) -> list[list[float]]:
        """Return each sequence's log-probs, asked for in parts."""
        asked = format_of(self.config.format, self.config.model, max(self._identity.tokens))
        size = self.config.sequences_per_request
        parts = [sequences[start : start + size] for start in range(0, len(sequences), size)]
        scored = await all_of(_score_part(requests, asked, part) for part in parts)
        return [values for part in scored for values in part]

    def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            session.close()


async def _score_part(requests: Requests, asked: Format, part: list[TokenSequence]) -> list[list[float]]:
    tokens = sum(len(sequence.tokens) for sequence in part)
    reply = await requests.ask_json("POST", asked.path, asked.body(part), tokens=tokens)
    return asked.read(reply, part)
