"""Data files: where the real data lies, and JSON Lines read so that a bad line is named."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeAlias, cast

from pydantic import BeforeValidator

from collegium.errors import DataError

VARIABLE = "COLLEGIUM_DATA"
"""Environment variable that names the folder of real data."""
PREFIX = f"${VARIABLE}/"
"""What a file's name begins with in a recipe if it lies in that folder."""


def _as_list(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, str) else value


DataFiles: TypeAlias = Annotated[list[str], BeforeValidator(_as_list)]
"""An option that names one data file, several, or none (null); see `locate` for their names."""


def find_data_folder(files: Sequence[str]) -> Path | None:
    """Return the folder that ``COLLEGIUM_DATA`` names, else a ``shared/data`` near by that holds `files`, else None.

    "Near by" is beside the working directory or beside one of its parents. The variable is a statement, so its folder
    is returned as it is: whoever reads it finds out what is missing. A folder merely found must hold every file.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    here = Path.cwd()
    candidates = (base.parent / "shared" / "data" for base in (here, *here.parents))
    return next((folder for folder in candidates if all((folder / name).is_file() for name in files)), None)


def locate(name: str) -> Path:
    """Return the file that an option names: ``$COLLEGIUM_DATA/FILE`` lies in the folder of real data.

    That folder is found also where the variable is not set (`find_data_folder`), so that a recipe names no machine's
    path. Any other name is a path from the current directory.

    Raises:
        DataError: If the folder of real data is not found.
    """
    if not name.startswith(PREFIX):
        return Path(name)
    file = name.removeprefix(PREFIX)
    folder = find_data_folder((file,))
    if folder is None:
        raise DataError(
            f"{name!r}: {VARIABLE} is not set, and no shared/data near {str(Path.cwd())!r} holds {file!r}",
            fix=f"set {VARIABLE} to the folder of real data",
        )
    return folder / file


def read_json_lines(path: Path, *, owner: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield ``(line number, row)`` of a JSON Lines file, gzipped if its name ends in ``.gz``. Line numbers start at 1.

    Raises:
        DataError: If the file is missing, empty or truncated, or a line is not a JSON object; names file and line.
    """
    line = 0
    try:
        with _open(path) as stream:
            for line, text in enumerate(stream, start=1):
                yield line, _row(text, path, line, owner)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}:{line + 1}: cannot be read: {error or type(error).__name__}",
            fix=f"put the whole file there, or name the folder that has it in {VARIABLE}",
            owner=owner,
        ) from error
    if not line:
        raise DataError(f"{path}:1: the file is empty; expected JSON Lines", fix="fetch the file again", owner=owner)


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig"))
    return path.open(encoding="utf-8-sig")


def _row(text: str, path: Path, line: int, owner: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{line}: not JSON ({error.msg}, column {error.colno}): {text[:60]!r}",
            fix="the file was cut or edited; fetch it again",
            owner=owner,
        ) from error
    except (ValueError, RecursionError) as error:  # a number of too many digits, too deep a nesting
        raise DataError(f"{path}:{line}: cannot be read: {error}", fix="mend this line", owner=owner) from error
    if not isinstance(row, dict):
        raise DataError(f"{path}:{line}: expected a JSON object, found {type(row).__name__}", owner=owner)
    return row
