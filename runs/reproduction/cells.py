"""The cells of a paper's table, as overrides: its grids, under what all of them share and what the user says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from siftune.runs.build import ConfigError
from siftune.runs.paper import Paper
from siftune.runs.preflight import cells_of, parse

Line = tuple[str, ...]
"""The overrides of one `siftune run -m`."""
Cell = tuple[str, ...]
"""The overrides of one run."""

SCALE = "scale"
NO_SCALE = ("null", "none")
FIXED = ("experiment", "hydra/sweeper", "hydra/callbacks", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.mode")
"""What `siftune reproduce` sets itself."""


def scale_of(overrides: Sequence[str], miniature: bool) -> str | None:
    """The option of the group `scale` that the cells have: the user's, or the one that --miniature stands for."""
    for override in reversed(parse(overrides)):
        if override.key_or_group == SCALE and not override.is_delete():
            value = override.get_value_element_as_str()
            return None if value in NO_SCALE else value
    return "miniature" if miniature else None


def require_free(overrides: Sequence[str]) -> None:
    """ConfigError for an override of what the command sets itself."""
    for override in parse(overrides):
        if override.key_or_group in FIXED or override.key_or_group.startswith("hydra.sweeper"):
            raise ConfigError(
                f"{override.input_line}: siftune reproduce sets {override.key_or_group} itself; to sweep in another "
                "way, type the commands that siftune reproduce NAME --dry-run prints"
            )


def lines_of(name: str, paper: Paper, scale: str | None, overrides: Sequence[str]) -> list[Line]:
    """A line a grid: the experiment, its scale, the miniature's own overrides, the grid's, the user's.

    Later ones replace earlier ones of the same key."""
    fixed = [f"experiment={name}", *([] if scale is None else [f"{SCALE}={scale}"])]
    grids: Sequence[Mapping[str, str]] = paper.grids
    if scale is not None:
        fixed += paper.miniature.overrides
        grids = paper.miniature.grids or paper.grids
    own = [override for override in overrides if parse([override])[0].key_or_group != SCALE]
    return [merged([*fixed, *(f"{key}={values}" for key, values in grid.items()), *own]) for grid in grids]


def merged(overrides: Sequence[str]) -> Line:
    """Each key once, as it was said last: `+key`, `++key` and `~key` are the key, `group@place` is not `group`."""
    last: dict[tuple[str, str | None], str] = {}
    for override in parse(overrides):
        key = override.key_or_group, override.package
        last.pop(key, None)
        last[key] = override.input_line or ""
    return tuple(last.values())


def cells_in(line: Line) -> list[Cell]:
    """The product of a line's sweeps."""
    return [tuple(cell) for cell in cells_of(parse(line))]


def as_lines(cells: Iterable[Cell]) -> list[Line]:
    """Few lines whose cells these are: where some cells of a grid are done, the others need be no product."""
    left = list(cells)
    if not left:
        return []
    if not left[0]:
        return [()]
    tails: dict[tuple[Cell, ...], list[str]] = {}
    for first in dict.fromkeys(cell[0] for cell in left):
        tails.setdefault(tuple(cell[1:] for cell in left if cell[0] == first), []).append(first)
    return [(_joined(firsts), *line) for rest, firsts in tails.items() for line in as_lines(rest)]


def _joined(overrides: Sequence[str]) -> str:
    """`key=a`, `key=b` -> `key=a,b`."""
    key = overrides[0].partition("=")[0]
    return (
        f"{key}={','.join(override.partition('=')[2] for override in overrides)}"
        if len(overrides) > 1
        else overrides[0]
    )
