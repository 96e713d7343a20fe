"""What is found out about a server before it scores: it is well, and has the model and tokenizer that are meant."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from transformers import PreTrainedTokenizerBase

from collegium_teacher_served.endpoint import Refused
from collegium_teacher_served.failures import Failure
from collegium_teacher_served.session import Requests, all_of
from collegium_teacher_served.tokenizer_probe import TokenizedText, difference, probe_texts

log = logging.getLogger(__name__)
NOT_OFFERED = (404, 405, 501)
"""Statuses of a server that does not have what is asked for."""
NAME_ITS_OWN = "name the server's own tokenizer; the student must have the same one"


async def greet(requests: Requests, model: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check health, model and tokenizer; what the server does not offer is left out (the list of models must be there).

    Raises:
        Failure: If the server fails, or is another one than is meant.
    """
    await requests.ask("GET", "/health", absent=NOT_OFFERED)
    await _check_model(requests, model)
    probes = list(probe_texts(tokenizer))
    if not probes or not await _reads_alike(requests, model, tokenizer, probes[0]):
        log.warning("the server of teacher %r has no /tokenize: its tokenizer is not compared", model)
        return
    await all_of(_reads_alike(requests, model, tokenizer, probe) for probe in probes[1:])


async def _check_model(requests: Requests, model: str) -> None:
    reply = await requests.ask_json("GET", "/v1/models")
    listed = reply.get("data") if isinstance(reply, Mapping) else None
    if not isinstance(listed, list):
        raise Failure("its /v1/models lists no models", said=repr(reply), fix="see that url is the server's root")
    names = [str(item.get("id")) for item in listed if isinstance(item, Mapping)]
    if model not in names:
        raise Failure(f"it does not serve {model!r}; it serves", said=", ".join(names) or "nothing", fix="mend model")


async def _reads_alike(
    requests: Requests, model: str, tokenizer: PreTrainedTokenizerBase, probe: TokenizedText
) -> bool:
    """Compare how the server reads a text; False if it has no ``/tokenize``."""
    body = {"model": model, "prompt": probe.text, "add_special_tokens": False}
    try:
        reply = await requests.ask_json("POST", "/tokenize", body, tokens=len(probe.token_ids), absent=NOT_OFFERED)
    except Refused as refused:
        raise Failure(
            f"it cannot read a text of the tokenizer's vocabulary, {probe.text[:40]!r}...: {refused.args[0]}",
            said=refused.said,
            fix=refused.fix if refused.status in (401, 403) else NAME_ITS_OWN,
        ) from None
    if reply is None:
        return False
    found = reply.get("tokens") if isinstance(reply, Mapping) else None
    if not isinstance(found, list):
        raise Failure("its /tokenize gave no list of tokens", said=repr(reply))
    story = difference(tokenizer, probe, found)
    if story:
        raise Failure(
            f"it has another tokenizer than the folder that the recipe names: {story}",
            fix=NAME_ITS_OWN,
        )
    return True
