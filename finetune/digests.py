"""What names a model's files: digests of their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

_WHOLE_FILE = 64 << 20
_SAMPLES, _SAMPLE = 256, 256 << 10


def folder_digest(folder: Path) -> str:
    """Digest of a model folder's files by name and content; of files above 64 MiB, the size and 256 spread-out samples.

    A fine-tuned variant differs all over its weights, so samples tell it apart without reading 15 GB at every start.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder)))
    parts = [f"{path.relative_to(folder).as_posix()}:{file_digest(path)}" for path in files]
    return content_digest("\n".join(parts).encode())


def file_digest(path: Path) -> str:
    """Digest of a file's content (of a file above 64 MiB, of its size and of 256 samples of it)."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE_FILE:
            digest.update(file.read())
        else:
            for i in range(_SAMPLES):
                file.seek(i * (size - _SAMPLE) // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def content_digest(content: bytes) -> str:
    """Digest of some bytes."""
    return hashlib.sha256(content).hexdigest()
