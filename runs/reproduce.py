"""`siftune reproduce`: the cells of a paper's table, planned, launched, resumed, and put beside what was printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from rich.console import Console

from siftune.runs.reproduction.config import CONFIG_NAME, ReproduceConfig, Request, read_request
from siftune.runs.reproduction.experiments import describe_paper, papers, print_papers, require_name


def reproduce(arguments: Sequence[str]) -> None:
    """The command. ValueError for what it refuses; SystemExit with 1 where a cell failed."""
    request = read_request(arguments)
    if request.help or request.name is None:
        _explain(request)
        return
    require_name(request.name, request.config_dir)
    # What a plan prints may be for programs; libraries greet on the same channel as they are imported.
    with redirect_stdout(sys.stderr):
        from siftune.runs.reproduction.launch import make_table
    make_table(request.name, request)


def _explain(request: Request) -> None:
    from siftune.runs.explain import print_help

    console = Console()
    if request.name is not None:
        require_name(request.name, request.config_dir)
        describe_paper(request.name, papers(request.config_dir)[request.name], console)
        return
    if request.help:
        print_help(CONFIG_NAME, ReproduceConfig, [], None)
        print()
    print_papers(papers(request.config_dir), console)
