"""The files of a bundle: which there may be, their bytes and checksums. Nothing here knows what is in them.

WorldError   what is wrong with a world, in one line; refuse: raise it
files_of     folder or zip -> name -> content
student_file the name of a tier's file
check_sums   against sha256sums
text_of      a text that can be shown
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path
from typing import NoReturn

WEIGHTS = r"[a-z]+\.safetensors|student-[a-z0-9]+\.safetensors"
NAME = re.compile(rf"(world\.json|card\.md|LICENSE|sha256sums|{WEIGHTS}|starts/[a-z0-9-]+\.png)")
NEEDED = ("world.json", "student.safetensors", "tokenizer.safetensors", "starts.safetensors", "card.md", "sha256sums")
MOST_BYTES, MOST_FILES = 2**31, 200
DEFAULT_TIER = "default"  # the one of student.safetensors


class WorldError(ValueError):
    """A world that does not exist, is damaged or is not to be trusted; one line with the remedy."""


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise the reason, with the remedy, as WorldError."""
    raise WorldError(f"{path}: {reason}. Get the world again, or export it anew with python -m train.export.")


def student_file(tier: str) -> str:
    """Where the student of a tier lies."""
    return "student.safetensors" if tier == DEFAULT_TIER else f"student-{tier}.safetensors"


def files_of(path: Path, only: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Name -> content, after checking names, kinds and sizes of all. only: some that every world has are enough."""
    if path.is_dir():
        found = [p for p in path.rglob("*") if not p.is_dir()]
        sizes = {p.relative_to(path).as_posix(): p.lstat().st_size for p in found}
        if any(p.is_symlink() for p in path.rglob("*")):
            refuse(path, "holds a symbolic link")
        _check_names(path, list(sizes), sum(sizes.values()))
        return {name: (path / name).read_bytes() for name in only or sizes}
    if not path.is_file():
        raise WorldError(f"{path}: no such world. python play.py world=? lists the bundled ones.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(m.compress_type != zipfile.ZIP_STORED for m in members):
                refuse(path, "is a compressed zip; a world is stored uncompressed")
            _check_names(path, [m.filename for m in members], sum(m.file_size for m in members))
            return {name: archive.read(name) for name in only or [m.filename for m in members]}
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        refuse(path, f"is not a world bundle ({error})")


def _check_names(path: Path, names: list[str], size: int) -> None:
    if size > MOST_BYTES or len(names) > MOST_FILES:
        refuse(path, f"is too large: {len(names)} files, {size} bytes")
    odd = [name for name in names if not NAME.fullmatch(name)]
    if odd or len(set(names)) != len(names):
        refuse(path, f"holds a file that no world has: {(odd or names)[0]!r}")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        refuse(path, f"lacks {', '.join(missing)}")


def check_sums(path: Path, files: dict[str, bytes]) -> None:
    """WorldError unless every file has its checksum in sha256sums."""
    sums = {line[66:]: line[:64] for line in text_of(files["sha256sums"]).splitlines()}
    for name, data in files.items():
        if name != "sha256sums" and sums.get(name) != hashlib.sha256(data).hexdigest():
            refuse(path, f"{name} is damaged: its checksum is not the one in sha256sums")


def text_of(data: bytes) -> str:
    """Bytes of a stranger as text that can be shown: cut, and without what moves a cursor."""
    text = data.decode("utf-8", "replace")[:100_000]
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
