"""The `siftune` command and its subcommands (`NAMES`), each a Hydra application."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NoReturn

from siftune.finetune.process import prepare_process
from siftune.runs.hydra_run import options_first

USAGE = """\
siftune: which rows of a large instruction pool should this model be fine-tuned on?

Usage: siftune COMMAND [OVERRIDE ...]

Commands:
  run       pick a subset, fine-tune the model on it, evaluate it, record everything
  select    pick a subset and write it as JSONL with a card
  plan      what run or select would do: stages, time, memory, disk
  runs      the runs of a store, finished or not: list, compare, start failed ones again
  report    compare finished runs: a table, Markdown, plots, with --html a page
  compare   which questions flipped between two runs, and whether that is more than luck
  measure   how diverse a pool is, or subsets of it: NovelSum and eleven other measures
  study     what the measures of diversity are worth: correlation, simulation
  reproduce a paper's table: its grid of runs, launched and resumed, beside the printed figures
  export    write a subset, and the model trained on it, as folders with cards that the hub takes
  methods   list the selection methods: the signals each needs, its cost, its paper

Overrides are Hydra's: group=option chooses a part of the config, key=value changes a setting, -m sweeps over lists.
  siftune run                                             the embedded default: a generated pool, a 135M model
  siftune run selection=random budget.amount=200          another method and budget
  siftune run -m selection=none,random,rds_plus seed=0,1  six runs, every shared stage computed once
  siftune run pool=file pool.path=my.jsonl model=qwen2_5_1_5b target=queries target.tasks.target.path=queries.jsonl
  siftune report --html                                   the runs of the store, side by side, and as a page
  siftune compare random rds_plus                         which questions one gets right and the other does not
  siftune measure                                         the diversity of the embedded default's pool
  siftune study simulation                                do the measures put sets of known diversity in order?
  siftune reproduce mig/main --miniature                  the main table of MIG's paper in small

siftune COMMAND --dry-run says what the command would read, compute, write and send, and does nothing of it. siftune
COMMAND --help shows the groups, their options and every setting of a command; --cfg job prints the config it would run
with. Shell completion: eval "$(siftune -sc install=bash)" (also zsh and fish).
"""


STUDY_USAGE = """\
siftune study: what the measures of diversity are worth

Usage: siftune study NAME [OVERRIDE ...]

Studies:
  correlation   fine-tune a model on each of many subsets; how well does each measure of a subset's diversity go with
                the scores of its model?
  simulation    sets whose diversity is known, as they are made for that: does each measure put them in order?

siftune study NAME --help shows the settings of a study.
"""


@dataclass(frozen=True)
class Command:
    """A subcommand: its primary config and the class of it, what it refuses before it starts, and what it does."""

    config_name: str
    schema: type
    check: Callable[[Mapping[str, Any]], None]
    act: Callable[[Mapping[str, Any]], Any]
    before: Callable[[Sequence[Mapping[str, Any]]], None] = lambda cells: None
    """What is done with the configs of all cells, once they are checked and before the first one starts."""
    ends_before: bool = False
    """Whether that was all."""


def _command(name: str) -> Command:
    """The command of this full name."""
    if name == "export":
        from siftune.runs.export import check_export, export
        from siftune.runs.exporting.config import ExportConfig

        return Command("export", ExportConfig, check_export, export)
    if name == "runs":
        from siftune.runs.listing.command import check_runs, runs
        from siftune.runs.listing.config import RunsConfig

        return Command("runs", RunsConfig, check_runs, runs)
    if name == "compare":
        from siftune.runs.compare import check_compare, compare
        from siftune.runs.comparing.config import CompareConfig

        return Command("compare", CompareConfig, check_compare, compare)
    if name == "measure":
        from siftune.runs.measure import check_measure, measure
        from siftune.runs.measuring.config import MeasureConfig

        return Command("measure", MeasureConfig, check_measure, measure)
    if name == "study correlation":
        from siftune.runs.studies.correlation import (
            before_study_correlation,
            check_study_correlation,
            study_correlation,
        )
        from siftune.runs.studies.correlation_config import CorrelationStudyConfig

        acts = check_study_correlation, study_correlation, before_study_correlation
        return Command("study_correlation", CorrelationStudyConfig, *acts)
    if name == "study simulation":
        from siftune.runs.studies.simulation import SimulationStudyConfig, check_study_simulation, study_simulation

        return Command("study_simulation", SimulationStudyConfig, check_study_simulation, study_simulation)
    return _commands()[name]


def _commands() -> dict[str, Command]:
    from siftune.runs import commands
    from siftune.runs.config import ExperimentConfig, PlanRunConfig, PlanSelectConfig, SelectConfig
    from siftune.runs.methods import MethodsConfig
    from siftune.runs.report import ReportConfig

    return {
        "run": Command("run", ExperimentConfig, commands.check_run, commands.run, commands.before_run),
        "select": Command("select", SelectConfig, commands.check_select, commands.select, commands.before_select),
        "plan": _planning("plan", PlanRunConfig, commands.check_plan, commands.plan),
        "plan select": _planning("plan_select", PlanSelectConfig, commands.check_plan_select, commands.plan_select),
        "report": Command("report", ReportConfig, commands.check_report, commands.report),
        "methods": Command("methods", MethodsConfig, commands.check_methods, commands.methods),
    }


def _planning(
    config_name: str,
    schema: type,
    check: Callable[[Mapping[str, Any]], None],
    plan: Callable[[Sequence[Mapping[str, Any]]], None],
) -> Command:
    # Hydra runs the cells one by one only where another sweeper makes them.
    return Command(config_name, schema, check, lambda node: plan([node]), plan, ends_before=True)


NAMES = ("run", "select", "plan", "runs", "report", "compare", "measure", "study", "reproduce", "export", "methods")
DRY_RUN = "--dry-run"
PLANNED = {"run": "plan", "select": "plan select"}
"""Command -> the one that plans it."""
STUDIES = ("correlation", "simulation")
REPRODUCE = "reproduce"
"""No Hydra application: it launches several."""
_OVERRIDE = re.compile(r"[+~]*[\w@./-]+=")
"""How an override of Hydra's begins; a label may hold a = after a parenthesis."""


def main() -> None:
    """Entry of the console script."""
    arguments = sys.argv[1:]
    if _is_completion(arguments):
        _complete(arguments)
    elif not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
    elif arguments[0] == "--version":
        print(f"siftune {metadata.version('siftune')}")
    elif arguments in (["study"], ["study", "-h"], ["study", "--help"]):
        print(STUDY_USAGE)
    elif arguments[0] in NAMES:
        _start(arguments[0], arguments[1:])
    else:
        _refuse_name(arguments[0], NAMES, "command", "siftune --help")


def _refuse_name(name: str, allowed: Sequence[str], noun: str, help_command: str) -> NoReturn:
    from siftune.runs.build import unknown

    sys.exit(f"siftune: {unknown(name, name, allowed, noun)} See {help_command}.")


def _start(name: str, arguments: list[str]) -> None:
    prepare_process()
    if name == REPRODUCE:
        _reproduce(arguments)
        return
    if name == "export" and any(word.startswith("sweep=") for word in arguments):
        _export_sweep(arguments)
        return
    dry, arguments = DRY_RUN in arguments, [word for word in arguments if word != DRY_RUN]
    name, arguments = _full_name(name, arguments)
    if dry and name == "runs" and any(word.startswith("relaunch=") for word in arguments):
        dry, arguments = False, [*arguments, "dry_run=true"]
    command, arguments = _command(name), options_first(arguments)
    try:
        finished = _before_hydra(command, arguments, name if dry else None)
    except ValueError as error:
        sys.exit(f"siftune: {error}")
    if not finished:
        _run_hydra(command, arguments)


def _reproduce(arguments: list[str]) -> None:
    try:
        from siftune.runs.reproduce import reproduce

        _print_pipeable(lambda: reproduce(arguments))
    except ValueError as error:
        sys.exit(f"siftune: {error}")


def _export_sweep(arguments: list[str]) -> None:
    try:
        with redirect_stdout(sys.stderr):
            from siftune.runs.sweep_export import export_sweep
        export_sweep(arguments)
    except ValueError as error:
        sys.exit(f"siftune: {error}")


def _full_name(name: str, arguments: list[str]) -> tuple[str, list[str]]:
    """`plan` has the name of the planned command after it, `run` where there is none; `study` has its study's."""
    if name == "study":
        if not arguments or arguments[0] not in STUDIES:
            _refuse_name(" ".join(arguments[:1]), STUDIES, "study", "siftune study --help")
        return f"study {arguments[0]}", arguments[1:]
    if name == "compare":
        return name, _with_sides(arguments)
    if name == "report":
        return name, ["html=true" if word == "--html" else word for word in arguments]
    if name != "plan" or not arguments or arguments[0] not in NAMES:
        return name, arguments
    if arguments[0] not in PLANNED:
        others = f"siftune plan run, or siftune plan select; siftune {arguments[0]} {DRY_RUN} says what that would do"
        sys.exit(f"siftune: there is nothing to plan in {arguments[0]}: {others}")
    return PLANNED[arguments[0]], arguments[1:]


def _with_sides(arguments: list[str]) -> list[str]:
    """`A B`, before any override, is short for `a=A b=B`."""
    bare = list(itertools.takewhile(lambda word: not _OVERRIDE.match(word) and word[:1] != "-", arguments[:2]))
    named = [f'{key}="{word}"' for key, word in zip("ab", (word.replace('"', r"\"") for word in bare), strict=False)]
    return [*named, *arguments[len(bare) :]]


def _before_hydra(command: Command, arguments: list[str], dry: str | None) -> bool:
    """Print the help that was asked for, or refuse what is wrong in any cell before the first starts.

    dry: the full name of the command, where it shall only say what it would do. Returns whether there is nothing left
    to do.
    """
    from hydra._internal.utils import get_args

    from siftune.runs.explain import print_help
    from siftune.runs.preflight import check_command

    args = get_args(arguments)
    config_dir = os.path.abspath(args.config_dir) if args.config_dir else None
    name = args.config_name or command.config_name
    if args.help:
        _print_pipeable(lambda: print_help(name, command.schema, args.overrides, config_dir))
    if args.help or any((args.hydra_help, args.cfg, args.info, args.shell_completion)):
        return bool(args.help)
    # What a command prints may be for programs; libraries greet on the same channel as they are imported.
    with redirect_stdout(sys.stderr):
        cells = check_command(name, args.overrides, args.multirun, config_dir, command.check)
    if dry is not None:
        from siftune.runs.dry_run import dry_run

        dry_run(dry, cells)
        return True
    if cells:
        command.before(cells)
    return bool(cells) and command.ends_before


def _print_pipeable(show: Callable[[], None]) -> None:
    """Print, and end quietly where the reader (`| head`) has seen enough."""
    try:
        show()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer goes nowhere, rather than into an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_hydra(command: Command, arguments: list[str]) -> None:
    from siftune.runs.hydra_run import run_hydra

    run_hydra(command.config_name, command.act, arguments)


def _is_completion(arguments: list[str]) -> bool:
    return bool(arguments) and arguments[0] in ("-sc", "--shell-completion")


def _complete(arguments: list[str]) -> None:
    """Hydra's completion, one level down: the shell asks `siftune -sc query=...` and knows no subcommands."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    # The last word is complete where a space follows it.
    typed = words[1:] if line.endswith(" ") else words[1:-1]
    names = _names_after(typed)
    if names and any(argument.startswith("query=") for argument in arguments):
        begun = "".join(words[1 + len(typed) :])
        print(" ".join(name for name in names if name.startswith(begun)))
        return
    name, rest = _completed(typed) if typed else ("run", [])
    for word in typed[: len(typed) - len(rest)]:
        line = line.replace(f" {word}", "", 1)
    for word, override in zip(typed[len(typed) - len(rest) :], rest, strict=True):
        line = line.replace(f" {word}", f" {override}", 1)
    os.environ["COMP_LINE"] = line
    _run_hydra(_command(name), arguments)


def _completed(typed: list[str]) -> tuple[str, list[str]]:
    """The command whose overrides are completed: behind the name of a paper's table they are those of its cells."""
    return ("run", typed[2:]) if typed[0] == REPRODUCE else _full_name(typed[0], typed[1:])


def _names_after(typed: Sequence[str]) -> Sequence[str]:
    """What may be named after these words; nothing where they name a command."""
    if typed == [REPRODUCE]:
        from siftune.runs.reproduction.experiments import paper_names

        return paper_names(None)
    if typed[:1] == ["study"]:
        return () if any(word in STUDIES for word in typed[1:2]) else STUDIES
    return () if any(word in NAMES for word in typed[:1]) else NAMES


if __name__ == "__main__":
    main()
