"""The `siftune` command: run, select, report and methods, each a Hydra application."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from siftune.finetune.process import prepare_process

USAGE = """\
siftune: which rows of a large instruction pool should this model be fine-tuned on?

Usage: siftune COMMAND [OVERRIDE ...]

Commands:
  run       pick a subset, fine-tune the model on it, evaluate it, record everything
  select    pick a subset and write it as JSONL with a card
  plan      what run or select would do: stages, time, memory, disk
  report    compare finished runs: a table, Markdown, plots
  methods   list the selection methods: the signals each needs, its cost, its paper

Overrides are Hydra's: group=option chooses a part of the config, key=value changes a setting, -m sweeps over lists.
  siftune run                                             the embedded default: a generated pool, a 135M model
  siftune run selection=random budget.amount=200          another method and budget
  siftune run -m selection=none,random,rds_plus seed=0,1  six runs, every shared stage computed once
  siftune run pool=file pool.path=my.jsonl model=qwen2_5_1_5b target=queries target.tasks.target.path=queries.jsonl
  siftune report                                          the runs of the store, side by side

siftune COMMAND --help shows the groups, their options and every setting of a command; --cfg job prints the config it
would run with. Shell completion: eval "$(siftune -sc install=bash)" (also zsh and fish).
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


NAMES = ("run", "select", "plan", "report", "methods")
PLANNED = {"run": "plan", "select": "plan select"}
"""Command -> the one that plans it."""


def main() -> None:
    """Entry of the console script."""
    arguments = sys.argv[1:]
    if _is_completion(arguments):
        _complete(arguments)
    elif not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
    elif arguments[0] == "--version":
        print(f"siftune {metadata.version('siftune')}")
    elif arguments[0] in NAMES:
        _start(arguments[0], arguments[1:])
    else:
        from siftune.runs.build import unknown

        sys.exit("siftune: " + unknown(arguments[0], arguments[0], NAMES, "command") + " See siftune --help.")


def _start(name: str, arguments: list[str]) -> None:
    prepare_process()
    name, arguments = _full_name(name, arguments)
    command = _commands()[name]
    try:
        finished = _before_hydra(command, arguments)
    except ValueError as error:
        sys.exit(_refusal(error))
    if not finished:
        _run_hydra(command, arguments)


def _full_name(name: str, arguments: list[str]) -> tuple[str, list[str]]:
    """`plan` has the name of the planned command after it, `run` where there is none."""
    if name != "plan" or not arguments or arguments[0] not in NAMES:
        return name, arguments
    if arguments[0] not in PLANNED:
        sys.exit(f"siftune: there is nothing to plan in {arguments[0]}: siftune plan run, or siftune plan select")
    return PLANNED[arguments[0]], arguments[1:]


def _before_hydra(command: Command, arguments: list[str]) -> bool:
    """Print the help that was asked for, or refuse what is wrong in any cell before the first starts.

    Returns whether there is nothing left to do.
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
    import hydra
    from hydra.errors import CompactHydraException
    from omegaconf import DictConfig

    from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node

    def task(config: DictConfig) -> Any:
        # Once more, as a launcher may have put the cell into a process of its own.
        prepare_process()
        try:
            return command.act(plain_node(config))
        except ValueError as error:
            # Hydra prints this class without a stack trace (HYDRA_FULL_ERROR=1 brings it back).
            raise CompactHydraException(_refusal(error)) from error

    sys.argv = [sys.argv[0], *arguments]
    hydra.main(version_base=VERSION_BASE, config_path=f"pkg://{CONFIG_MODULE}", config_name=command.config_name)(task)()


def _refusal(error: Exception) -> str:
    return f"siftune: {error}"


def _is_completion(arguments: list[str]) -> bool:
    return bool(arguments) and arguments[0] in ("-sc", "--shell-completion")


def _complete(arguments: list[str]) -> None:
    """Hydra's completion, one level down: the shell asks `siftune -sc query=...` and knows no subcommands."""
    words = os.environ.get("COMP_LINE", "").split()
    line = os.environ.get("COMP_LINE", "")
    chosen = words[1] if len(words) > 2 or (len(words) == 2 and line.endswith(" ")) else None
    if any(argument.startswith("query=") for argument in arguments) and chosen not in NAMES:
        print(" ".join(name for name in NAMES if len(words) < 2 or name.startswith(words[1])))
        return
    typed = words[1:] if line.endswith(" ") else words[1:-1]
    name, _ = _full_name(chosen or "run", typed[1:])
    for word in typed[: 2 if chosen == "plan" and typed[1:2] and typed[1] in PLANNED else 1]:
        line = line.replace(f" {word}", "", 1)
    os.environ["COMP_LINE"] = line
    _run_hydra(_commands()[name], arguments)


if __name__ == "__main__":
    main()
