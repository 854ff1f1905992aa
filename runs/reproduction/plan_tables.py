"""The plan of a paper's table in words: cells done and to do, hours here, and hours of a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from siftune.runs.paper import Paper
from siftune.runs.planning.table import print_compact, print_table, sentence
from siftune.runs.reproduction.config import GPU
from siftune.runs.reproduction.formula import TOKENS, formula_of
from siftune.runs.reproduction.plan import TablePlan
from siftune.runs.units import short


def print_table_plan(name: str, planned: TablePlan, paper: Paper, gpu: GPU, console: Console) -> None:
    """The cells by their state, the stages that are left, what they take, and which cells cannot be told."""
    console.print(Text(f"{name}: {states(planned)}", style="bold"))
    if planned.plan.steps and planned.plan.to_do:
        print_table(planned.plan, console)
        console.print(Text(f"to do: {sentence(planned.plan)}"))
    for line in [*gpu_hours(planned.plan.flops, gpu), *problems(planned), *by_formula(planned, paper, gpu)]:
        console.print(Text(line), soft_wrap=True)


def print_progress(planned: TablePlan, console: Console) -> None:
    """The same in short, before the cells are launched."""
    console.print(Text(states(planned), style="bold"))
    if len(planned.of_state("done")) < len(planned.cells):
        print_compact(planned.plan, console)


def states(planned: TablePlan) -> str:
    """`12 of 18 cells done, 2 partly cached, 4 to do`."""
    counts = Counter(cell.state for cell in planned.cells)
    total = len(planned.cells)
    if counts["done"] == total:
        return f"all {total} cells done"
    parts = [f"{counts['done']} of {total} cells done"]
    parts += [f"{counts[state]} {state}" for state in ("partly cached", "to do", "unread") if counts[state]]
    return ", ".join(parts)


def gpu_hours(flops: float, gpu: GPU) -> Iterator[str]:
    """What FLOPs are in hours of a GPU."""
    if flops:
        hours = gpu.hours(flops)
        shown = f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
        yield (
            f"{short(flops)}FLOP are {shown} GPU hours of one {gpu.name}: {gpu.tflops:g} TFLOPS at {100 * gpu.mfu:g}% "
            "(gpu.tflops, gpu.mfu)"
        )


def problems(planned: TablePlan) -> Iterator[str]:
    """Why cells cannot be told, each reason once."""
    for problem, count in Counter(cell.problem for cell in planned.of_state("unread")).items():
        yield f"not known here, {count} cell{'' if count == 1 else 's'}: {problem}"


def by_formula(planned: TablePlan, paper: Paper, gpu: GPU) -> Iterator[str]:
    """An estimate for the cells that cannot be told, where the paper's pool has a known size."""
    unread = [cell.cell.config for cell in planned.of_state("unread")]
    found = formula_of(unread, paper.pool_rows) if unread else None
    if found is not None:
        size = f"{found.rows:,} rows of {TOKENS:,} tokens"
        yield f"these by the formulas of RDS+'s appendix, a pool of {size}: {short(found.flops)}FLOP"
        yield from gpu_hours(found.flops, gpu)
        if found.unsized:
            yield f"left out, as their names tell no size: {', '.join(found.unsized)}"
