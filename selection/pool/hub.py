"""Data sets of the Hugging Face hub, streamed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from siftune.selection.pool.source import PoolError, Record


def is_hub_id(path: str) -> bool:
    """Whether the path can only be owner/name on the hub: nothing of that name is here."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", path) is not None and not path.startswith(".") and not Path(path).exists()


def resolve_revision(dataset: str, revision: str | None) -> str:
    """The commit that a revision (None: main) stands for: asked of the hub, else of the local cache, else as given."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.file_download import repo_folder_name

    wanted = revision or "main"
    if re.fullmatch(r"[0-9a-f]{40}", wanted):
        return wanted
    try:  # fetches no file, only the commit, and notes it in the cache for when the hub cannot be reached
        return Path(snapshot_download(dataset, repo_type="dataset", revision=wanted, allow_patterns=[])).name
    except OSError:
        folder = repo_folder_name(repo_id=dataset, repo_type="dataset")
        reference = Path(constants.HF_HUB_CACHE) / folder / "refs" / wanted
        return reference.read_text().strip() if reference.is_file() else wanted


def hub_records(dataset: str, subset: str | None, split: str, revision: str) -> Iterator[Record]:
    """The records of one split as they arrive; nothing is kept on disk."""
    from datasets import load_dataset

    place = f"{dataset}@{revision}:{split}"
    try:
        stream = load_dataset(dataset, subset, split=split, revision=revision, streaming=True)
        for row, value in enumerate(stream, start=1):
            yield Record(value, place, row)
    except (OSError, ValueError, RuntimeError) as error:
        raise PoolError(
            f"{place}: cannot be read from the hub ({error}). No file or folder {dataset} is here either; "
            "check pool.path, pool.subset, pool.split, the network, and the access token for gated data"
        ) from error
