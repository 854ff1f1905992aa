"""The `siftune` command: run, select, report and methods, each a Hydra application."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from siftune.runs.cpu import prepare_process

USAGE = """\
siftune: which rows of a large instruction pool should this model be fine-tuned on?

Usage: siftune COMMAND [OVERRIDE ...]

Commands:
  run       pick a subset, fine-tune the model on it, evaluate it, record everything
  select    pick a subset and write it as JSONL with a card
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


def _commands() -> dict[str, Command]:
    from siftune.runs import commands
    from siftune.runs.config import ExperimentConfig, SelectConfig
    from siftune.runs.methods import MethodsConfig
    from siftune.runs.report import ReportConfig

    return {
        "run": Command("run", ExperimentConfig, commands.check_run, commands.run),
        "select": Command("select", SelectConfig, commands.check_select, commands.select),
        "report": Command("report", ReportConfig, commands.check_report, commands.report),
        "methods": Command("methods", MethodsConfig, commands.check_methods, commands.methods),
    }


NAMES = ("run", "select", "report", "methods")


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
    command = _commands()[name]
    try:
        helped = _help_or_check(command, arguments)
    except ValueError as error:
        sys.exit(_refusal(error))
    if not helped:
        _run_hydra(command, arguments)


def _help_or_check(command: Command, arguments: list[str]) -> bool:
    """Print the help that was asked for (then True), or refuse what is wrong in any cell before the first starts."""
    from hydra._internal.utils import get_args

    from siftune.runs.explain import print_help
    from siftune.runs.preflight import check_command

    args = get_args(arguments)
    config_dir = os.path.abspath(args.config_dir) if args.config_dir else None
    name = args.config_name or command.config_name
    if args.help:
        _print_pipeable(lambda: print_help(name, command.schema, args.overrides, config_dir))
    elif not any((args.hydra_help, args.cfg, args.info, args.shell_completion)):
        check_command(name, args.overrides, args.multirun, config_dir, command.check)
    return bool(args.help)


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
    if chosen:
        os.environ["COMP_LINE"] = line.replace(f" {chosen}", "", 1)
    _run_hydra(_commands()[chosen or "run"], arguments)


if __name__ == "__main__":
    main()
