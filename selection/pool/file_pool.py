"""A pool read from files or from the hub."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from siftune.selection.files import sha256_of
from siftune.selection.pool.hub import hub_records, is_hub_id, resolve_revision
from siftune.selection.pool.reading import is_data_file, read_file
from siftune.selection.pool.source import PoolError, PoolSource, Record


@dataclass(frozen=True, kw_only=True)
class FilePool(PoolSource):
    """Rows from a file, a folder, a glob of files, or a data set of the hub.

    Files are JSON lines or JSON arrays (also .gz, .zst), Parquet or Arrow; a folder is one that
    `datasets.save_to_disk` wrote, or any folder, whose data files are read in the order of their paths.
    """

    path: str = field(metadata={"identity": False})
    """File, folder, glob, or owner/name on the hub. Not in the fingerprint: the contents are (see `inputs`)."""
    split: str = "train"
    """The split, of a hub data set or of a saved `DatasetDict`; other files have none."""
    subset: str | None = None
    """The configuration of a hub data set that has several."""
    revision: str | None = None
    """Commit, tag or branch of a hub data set; None is its main branch."""

    def inputs(self) -> dict[str, str]:
        """SHA-256 of each file, keyed by its place in the order; of a hub data set its id and commit."""
        if is_hub_id(self.path):
            return {"hub": f"{self.path}@{resolve_revision(self.path, self.revision)}"}
        return {f"file-{index:05d}": sha256_of(path) for index, path in enumerate(self.files())}

    def records(self) -> Iterator[Record]:
        """The records of all files, in order."""
        if is_hub_id(self.path):
            revision = resolve_revision(self.path, self.revision)
            yield from hub_records(self.path, self.subset, self.split, revision)
            return
        for path in self.files():
            yield from read_file(path)

    def files(self) -> list[Path]:
        """The files to read, in order; PoolError where there is none."""
        path = Path(self.path).expanduser()
        if path.is_file():
            return [path]
        if path.is_dir():
            files = _saved_dataset(path, self.split) or _data_files(path.rglob("*"), path)
        else:
            files = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
        if not files:
            what = "the folder holds no data file" if path.is_dir() else "there is no such file, folder, glob or hub id"
            raise PoolError(f"pool.path={self.path}: {what}")
        return files


def _data_files(found: Iterator[Path], root: Path) -> list[Path]:
    """The data files among these, hidden ones left out."""
    return sorted(
        path
        for path in found
        if path.is_file()
        and is_data_file(path)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def _saved_dataset(folder: Path, split: str) -> list[Path]:
    """The Arrow files of a folder that `datasets.save_to_disk` wrote, in its order; [] for another folder."""
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        names = json.loads(splits.read_text("utf-8"))["splits"]
        if split not in names:
            raise PoolError(f"{folder}: no split {split!r} (pool.split); it has {', '.join(names)}")
        folder = folder / split
    state = folder / "state.json"
    if not state.is_file() or not (folder / "dataset_info.json").is_file():
        return []
    return [folder / file["filename"] for file in json.loads(state.read_text("utf-8"))["_data_files"]]
