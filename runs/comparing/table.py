"""The comparison of two models as tables: for the terminal (rich) and in Markdown, with the first flipped questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from siftune.runs.comparing.flips import BETTER, FLIPPED, WORSE
from siftune.runs.comparing.report import CompareReport, Difference
from siftune.runs.reporting.rows import decimals_for
from siftune.runs.tables import MISSING, Cells, fitting, markdown_table

PIPED = 130
"""Characters in a line where the output is a file."""
PROMPT_SHOWN = 600
"""So much of a prompt's end is shown: the question stands there, after the examples."""
OUTPUT_SHOWN = 400


def print_table(report: CompareReport, console: Console) -> None:
    """Print a row a task, then those taken together."""
    if not console.is_terminal:
        console.width = PIPED
    console.print(Text(report.title, style="bold"))
    names = [f"{item.name} {_arrow(item)}".strip() for item in _rows(report)]
    for table in fitting(names, _columns(report), console, "task"):
        console.print(table)
    for note in _notes(report):
        console.print(Text(note, style="dim"))


def markdown(report: CompareReport, examples: int) -> str:
    """The report in Markdown, with so many questions for every task and direction."""
    parts = ["# siftune compare", "", f"{report.title}.", ""]
    metrics = Cells(
        "metric", "", tuple(f"{item.metric} {_arrow(item)}".strip() for item in _rows(report)), _plain(report)
    )
    parts += [*markdown_table([item.name for item in _rows(report)], [metrics, *_columns(report)], "task"), ""]
    parts += [f"- {note[0].upper()}{note[1:]}." for note in _notes(report)] + [""]
    parts += _pair_table(report)
    parts += _runs(report)
    if examples and report.flips:
        parts += ["## Questions that flipped", "", "What changed most; `flips.jsonl` has all, with whole prompts.", ""]
        for task in sorted(report.tasks, key=lambda task: not task.binary):
            parts += _examples(report, task, examples)
    return "\n".join(parts)


def _rows(report: CompareReport) -> tuple[Difference, ...]:
    return (*report.tasks, *report.together)


def _plain(report: CompareReport) -> tuple[bool, ...]:
    return (False,) * len(_rows(report))


def _columns(report: CompareReport) -> list[Cells]:
    rows, plain = _rows(report), _plain(report)
    level = 1 - report.confidence
    low = tuple(item.adjusted is not None and item.adjusted < level for item in rows)
    return [
        Cells("questions", "", tuple(f"{item.questions:,}" for item in rows), plain),
        Cells("A", "", tuple(_number(item, item.a) for item in rows), plain),
        Cells("B", "", tuple(_number(item, item.b) for item in rows), plain),
        Cells("B - A", f"{report.confidence:.0%} interval", tuple(_interval(item) for item in rows), plain),
        Cells("to right", "or better", tuple(_count(item, item.better) for item in rows), plain),
        Cells("to wrong", "or worse", tuple(_count(item, item.worse) for item in rows), plain),
        Cells("p", "", tuple(_p(item.p) for item in rows), plain),
        Cells("adjusted p", "Holm", tuple(_p(item.adjusted) for item in rows), low),
    ]


def _notes(report: CompareReport) -> list[str]:
    tested = [item for item in report.tasks if item.p is not None]
    several = len(report.pairs) > 1
    notes = []
    if any(item.binary for item in tested):
        how = "McNemar's exact test of the flipped questions"
        pooled = ", over the seeds by their net flips, question by question" if several else ""
        notes.append(f"right or wrong: p of {how}{pooled}")
    if any(not item.binary for item in tested):
        mean = " of their means over the seeds" if several else ""
        notes.append(f"losses and other values: p of Wilcoxon's signed-rank test over the documents{mean}")
    notes.append("intervals: paired bootstrap over the questions; p and intervals say nothing of other seeds")
    notes += [f"seeds: {_seeds(report)}"] if several else []
    return notes + [f"{item.name}: {item.note}" for item in report.tasks if item.note]


def _seeds(report: CompareReport) -> str:
    shown = [
        f"{pair.a.seed} with {pair.b.seed}" if pair.a.seed != pair.b.seed else f"{pair.a.seed}" for pair in report.pairs
    ]
    left_out = [
        f"{side.name} seed {run.seed}"
        for side, kept in ((report.a, [pair.a for pair in report.pairs]), (report.b, [pair.b for pair in report.pairs]))
        for run in side.runs
        if run not in kept
    ]
    return ", ".join(shown) + (f"; without a partner: {', '.join(left_out)}" if left_out else "")


def _pair_table(report: CompareReport) -> list[str]:
    """McNemar's test seed by seed, where there are several."""
    rows = [(task.name, pair) for task in report.tasks for pair in task.pairs]
    if not rows:
        return []
    lines = [
        "## Seed by seed",
        "",
        "| task | seed of A | seed of B | to right | to wrong | p |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, pair in rows:
        lines.append(f"| {name} | {pair.seed_a} | {pair.seed_b} | {pair.better} | {pair.worse} | {_p(pair.p)} |")
    return [*lines, ""]


def _runs(report: CompareReport) -> list[str]:
    lines = ["## Runs", "", "| | run | group | seed | fingerprint |", "|---|---|---|---:|---|"]
    for letter, side in (("A", report.a), ("B", report.b)):
        lines += [f"| {letter} | {run.label} | {run.group} | {run.seed} | `{run.fingerprint}` |" for run in side.runs]
    return [*lines, ""]


def _examples(report: CompareReport, task: Difference, examples: int) -> list[str]:
    lines: list[str] = []
    for change in (BETTER, WORSE):
        called = FLIPPED[change] if task.binary else change
        found = [flip for flip in report.flips if flip["task"] == task.name and flip["change"] == called]
        for flip in found[:examples]:
            lines += _example(flip)
    return lines


def _example(flip: Mapping[str, Any]) -> list[str]:
    values = [", ".join(f"{value:.4g}" for value in flip[key]) for key in ("values_a", "values_b")]
    change = f"{flip['metric']} {values[0]} → {values[1]} ({flip['change']})"
    lines = [
        f"### {flip['task']}, document {flip['doc_id']}: {change}",
        "",
        *_block(flip["prompt"], PROMPT_SHOWN, True),
    ]
    lines += [f"Wanted: {_inline(flip['target'])}", ""]
    for letter in ("a", "b"):
        side = flip[letter]
        if side["output"] is None:
            continue
        answer = side["answer"]
        extracted = "" if answer is None or answer == side["output"] else f", taken as {_inline(answer)}"
        lines += [
            f"{letter.upper()} (seed {side['seed']}){extracted}:",
            "",
            *_block(side["output"], OUTPUT_SHOWN, False),
        ]
    return lines


def _block(text: str, length: int, its_end: bool) -> list[str]:
    shown = text if len(text) <= length else f"… {text[-length:]}" if its_end else f"{text[:length]} …"
    # Indented, so that no fence in a text can end the block.
    return [*(f"    {line}" for line in (shown.splitlines() or [""])), ""]


def _inline(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split())[:200] + "`"


def _arrow(item: Difference) -> str:
    return {True: "↑", False: "↓", None: ""}[item.higher_is_better]


def _number(item: Difference, value: float) -> str:
    return f"{value:.{decimals_for([item.a, item.b])}f}"


def _interval(item: Difference) -> str:
    decimals = decimals_for([item.a, item.b])
    text = f"{item.difference:+.{decimals}f}"
    if item.low is None or item.high is None:
        return text
    return f"{text} [{item.low:+.{decimals}f}, {item.high:+.{decimals}f}]"


def _count(item: Difference, count: int) -> str:
    return MISSING if item.p is None else f"{count:,}"


def _p(value: float | None) -> str:
    if value is None:
        return MISSING
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"
