"""Check the cards of the distributions that a recipe uses, and the teachers' checkpoints that they declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from collegium.cards.model import ComponentCard
from collegium.cards.read import CARD, card_entry, package_file, read_card
from collegium.component import Config
from collegium.errors import CollegiumError, Problem
from collegium.hookspecs import API
from collegium.model_files import is_local, tokenizer_hashes
from collegium.planning.fingerprint import folder_digest
from collegium.plugins.registry import Entry


def check_cards(entries: Iterable[Entry], teachers: Iterable[tuple[Entry, Config]]) -> Iterator[Problem]:
    """Yield a problem for each malformed card of a used distribution, and each checkpoint that is not as declared.

    Args:
        entries: Every component that the recipe uses.
        teachers: The teachers among them with their options.
    """
    configs: dict[str, list[Config]] = {}
    for entry, config in teachers:
        configs.setdefault(entry.id, []).append(config)
    malformed: set[str] = set()
    for entry in sorted(entries, key=lambda entry: (entry.kind, entry.id)):
        owner = entry.record.distribution
        try:
            card = read_card(entry.record.module, owner)
            said = card_entry(card, entry.kind, entry.component.name)
        except CollegiumError as error:
            if owner not in malformed:
                yield from error.problems
            malformed.add(owner)
            continue
        if card is not None and card.contract != API and owner not in malformed:
            what = f"the card of {owner} is for contract {card.contract}, this core speaks {API}"
            yield Problem(what, f"upgrade {owner if card.contract < API else 'collegium'}", owner)
            malformed.add(owner)
        if said is not None and entry.kind in ("teacher", "task"):
            yield from _check_checkpoint(entry, said, configs.get(entry.id, []))


def _check_checkpoint(entry: Entry, said: ComponentCard, configs: list[Config]) -> Iterator[Problem]:
    folders = {Path(path) for config in configs for path in _contents(config) if Path(path).is_dir()}
    if not folders and said.checkpoint:
        declared_folder = _declared_folder(entry, said.checkpoint.path)
        if declared_folder is None and is_local(said.checkpoint.path):
            what = f"{entry.kind} {entry.id!r}: the checkpoint of its card, {said.checkpoint.path!r}, is not there"
            yield Problem(what, f"put it there, or upgrade {entry.record.distribution}", entry.record.distribution)
        folders = {declared_folder} if declared_folder else set()
    for folder in sorted(folders):
        for what, declared, found in _compared(said, folder):
            if declared is not None and found != declared:
                yield Problem(
                    f"{entry.kind} {entry.id!r}: its card declares the {what} {declared[:12]}..., "
                    f"{str(folder)!r} has {found[:12] + '...' if found else 'none'}",
                    f"restore the {what} that the card names, or upgrade {entry.record.distribution}",
                    entry.record.distribution,
                )


def _contents(config: Config) -> Iterable[Path]:
    """Return the contents that options name; what is wrong with them is reported where they are digested."""
    try:
        return config.content_paths()
    except CollegiumError:
        return ()


def _declared_folder(entry: Entry, path: str) -> Path | None:
    """Return the card's checkpoint where it is a folder here; a hub name is not looked up."""
    card = package_file(entry.record.module, CARD)
    beside = card.parent / path if card else Path(path)
    if beside.is_dir():
        return beside
    return Path(path) if is_local(path) and Path(path).is_dir() else None


def _compared(said: ComponentCard, folder: Path) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield each declared hash with what is found."""
    hashes = tokenizer_hashes(folder)
    yield "tokenizer", said.tokenizer, hashes.get("tokenizer")
    yield "chat template", said.chat_template, hashes.get("chat_template")
    if said.checkpoint and said.checkpoint.digest:
        yield "checkpoint digest", said.checkpoint.digest, folder_digest(folder)
