"""The experiments that stand for a paper's table."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from siftune.runs.build import ConfigError, build, unknown
from siftune.runs.paper import Paper
from siftune.runs.reproduction.cells import cells_in, lines_of

GROUP = "experiment"
MINIATURE = "miniature"


def papers(config_dir: str | None) -> dict[str, Paper]:
    """Name -> its paper, of the shipped experiments that have one and those of a folder of one's own; by name."""
    return {name: _paper(node, name) for name, node in sorted(_nodes(config_dir)) if node}


def paper_names(config_dir: str | None) -> list[str]:
    """Names alone."""
    return sorted(name for name, node in _nodes(config_dir) if node)


def require_name(name: str, config_dir: str | None) -> None:
    """ConfigError with the nearest name, for one that is no table's."""
    nodes = dict(_nodes(config_dir))
    if name in nodes and not nodes[name]:
        raise ConfigError(f"{name}: an experiment that stands for no paper's table: siftune run experiment={name}")
    if name not in nodes:
        known = [other for other, node in nodes.items() if node]
        raise ConfigError(f"{unknown(name, name, known, 'paper table')} siftune reproduce lists them.")


def print_papers(found: dict[str, Paper], console: Console) -> None:
    """A line a table."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for header in ("table", "paper"):
        table.add_column(header, overflow="fold")
    for header in ("cells", "in small", "printed"):
        table.add_column(header, justify="right", no_wrap=True)
    for name, paper in found.items():
        sizes = (str(_count(name, paper, scale)) for scale in (None, MINIATURE))
        table.add_row(Text(name), Text(paper.citation), *sizes, "yes" if paper.table else "no")
    console.print(table)
    console.print(
        Text("cells: runs of the whole table, and of its miniature. printed: whether the paper's figures are known")
    )


def describe_paper(name: str, paper: Paper, console: Console) -> None:
    """One table: what it is, its grids, in what it departs."""
    lines = [paper.citation, f"printed figures: {paper.table or 'none known'}"]
    for title, scale in (("the whole table", None), ("its miniature", MINIATURE)):
        lines.append(f"{title}, {_count(name, paper, scale)} cells:")
        lines += [f"  {' '.join(line)}" for line in lines_of(name, paper, scale, [])]
    lines += [f"departs from the paper: {departure}" for departure in paper.departures]
    lines += [f"the miniature besides: {departure}" for departure in paper.miniature.departures]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _count(name: str, paper: Paper, scale: str | None) -> int:
    return len({cell for line in lines_of(name, paper, scale, []) for cell in cells_in(line)})


def _paper(node: dict[str, Any], name: str) -> Paper:
    paper: Paper = build(Paper, node, f"{name}: paper")
    return paper


def _nodes(config_dir: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, what stands under `paper`) of every experiment, composed with nothing."""
    roots: list[Any] = [resources.files("siftune.conf") / GROUP]
    if config_dir is not None and (Path(config_dir) / GROUP).is_dir():
        roots.append(Path(config_dir) / GROUP)
    for root in roots:
        for name, file in _files(root, ""):
            content = OmegaConf.create(file.read_text(encoding="utf-8"))
            node = OmegaConf.to_container(content.get("paper") or OmegaConf.create({}), resolve=False)
            assert isinstance(node, dict)
            yield name, {str(key): value for key, value in node.items()}


def _files(folder: Any, above: str) -> Iterator[tuple[str, Any]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _files(item, f"{above}{item.name}/")
        elif item.name.endswith(".yaml"):
            yield f"{above}{item.name.removesuffix('.yaml')}", item
