"""What the subcommands check before they start, and what they do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from siftune.finetune.model_sources import Model
from siftune.runs.build import build
from siftune.runs.config import (
    PlanFormat,
    PlanRunConfig,
    PlanSelectConfig,
    SignalsConfig,
    experiment_config,
    select_config,
)
from siftune.runs.console import StageConsole
from siftune.runs.distributed import is_main_process
from siftune.runs.methods import MethodsConfig, print_methods
from siftune.runs.needs import needs_of
from siftune.runs.plan import Plan
from siftune.runs.planning.export import to_json, to_markdown
from siftune.runs.planning.table import print_compact, print_table
from siftune.runs.rounds.config import ClusterRefinement
from siftune.selection.features.encoders.encoder import Encoder
from siftune.selection.features.scorers.scorer import HasModels, Scorer
from siftune.selection.features.taggers.tagger import Tagger

if TYPE_CHECKING:
    from siftune.runs.report import ReportFiles


def check_run(node: Mapping[str, Any]) -> None:
    """Refuse a config that could not be run to its end, before anything is computed."""
    from siftune.evaluate.harness import validate_suite
    from siftune.runs.tracker.session import require_account

    config = experiment_config(node)
    _check_sources(config)
    _check_model(config.model)
    if isinstance(config.refinement, ClusterRefinement):
        _check_scorer(config.refinement.scorer)
    if config.tracking.mode == "online":
        require_account()
    if config.evaluate is not None:
        validate_suite(config.evaluate, backend=config.backend)


def run(node: Mapping[str, Any], overrides: Sequence[str] | None = None) -> Path:
    """Run an experiment; returns the folder of its record. `overrides`: as typed, where Hydra was given others."""
    from siftune.runs.attempts import keep_attempt
    from siftune.runs.experiment import run as run_experiment
    from siftune.runs.workspace import Workspace

    config = experiment_config(node)
    quiet_libraries()

    def act() -> Path:
        return run_experiment(config, Workspace(config.store, runtime=config.runtime))

    folder = keep_attempt(act, node, config, _typed_overrides() if overrides is None else overrides)
    if is_main_process() and not _in_sweep():
        compare_runs([folder], None)
    return folder


def check_select(node: Mapping[str, Any]) -> None:
    """Refuse a selection that could not be made."""
    config = select_config(node)
    _check_sources(config)
    check_output(config.output)
    if config.decontaminate is not None and config.evaluate is not None:
        from siftune.evaluate.harness import validate_suite

        validate_suite(config.evaluate, evaluated=False)


def select(node: Mapping[str, Any]) -> Path:
    """Pick a subset; returns its folder."""
    from siftune.runs.artifacts import RECORD
    from siftune.runs.exporting.sources import CONFIG_FILE, keep_config
    from siftune.runs.picking import select as pick
    from siftune.runs.pool_steps import reports
    from siftune.runs.workspace import Workspace

    config = select_config(node)
    quiet_libraries()
    workspace = Workspace(config.store, runtime=config.runtime)
    subset = pick(config, workspace)
    folder = subset.artifact.folder
    if is_main_process():
        keep_config(folder, config)
    if config.output is not None and is_main_process():
        folder = config.output
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("subset.jsonl", "README.md", RECORD, CONFIG_FILE, "label_graph.safetensors", "label_graph.png"):
            if (subset.artifact.folder / name).is_file():
                shutil.copyfile(subset.artifact.folder / name, folder / name)
        for name, report in reports(subset.pool).items():
            shutil.copyfile(report, folder / name)
    workspace.console.say(f"{len(subset.indices):,} rows, and their card: [bold]{folder}")
    return folder


def check_plan(node: Mapping[str, Any]) -> None:
    """Refuse what `siftune run` would refuse."""
    build(PlanRunConfig, node)
    check_run(_planned(node))


def check_plan_select(node: Mapping[str, Any]) -> None:
    """Refuse what `siftune select` would refuse."""
    build(PlanSelectConfig, node)
    check_select(_planned(node))


def plan(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Print what `siftune run` would do in these cells; ResourceError where the disk or the memory will not do."""
    print_plan([experiment_config(_planned(node)) for node in nodes], nodes[0]["format"])


def plan_select(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Print what `siftune select` would do in these cells; likewise."""
    print_plan([select_config(_planned(node)) for node in nodes], nodes[0]["format"])


def before_run(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Say in short what is to be done in these cells, and refuse what the disk or the memory does not hold."""
    _say_plan([experiment_config(node) for node in nodes])


def before_select(nodes: Sequence[Mapping[str, Any]]) -> None:
    """The same of selections."""
    _say_plan([select_config(node) for node in nodes])


def _planned(node: Mapping[str, Any]) -> dict[str, Any]:
    """The config of the command that is planned."""
    return {key: value for key, value in node.items() if key != "format"}


def _say_plan(configs: Sequence[SignalsConfig]) -> None:
    if not is_main_process():
        return
    for plan in _plans([config for config in configs if config.check_resources]):
        print_compact(plan, StageConsole().console)
        plan.check()
        plan.check_endpoints()


def print_plan(configs: Sequence[SignalsConfig], form: PlanFormat, scratch: Path | None = None) -> None:
    """The plan of these cells, in this form; `scratch`: see `make_plan`."""
    plans = list(_plans(configs, scratch))
    for made in plans:
        if form == "table":
            print_table(made, Console())
        else:
            print(to_markdown(made) if form == "markdown" else json.dumps(to_json(made), indent=1))
    for made in plans:
        made.check()


def _plans(configs: Sequence[SignalsConfig], scratch: Path | None = None) -> Iterator[Plan]:
    """One a store."""
    for store in dict.fromkeys(config.store for config in configs):
        # What is printed is for programs too: libraries that talk do it elsewhere.
        with redirect_stdout(sys.stderr):
            from siftune.runs.planning.steps import make_plan

            quiet_libraries()
            made = make_plan([config for config in configs if config.store == store], scratch)
        yield made


def check_report(node: Mapping[str, Any]) -> None:
    """Refuse a report config with unknown keys or wrong types, and one whose account is missing."""
    from siftune.runs.report import ReportConfig
    from siftune.runs.tracker.session import require_account

    config: ReportConfig = build(ReportConfig, node)
    if config.tracking.mode == "online":
        require_account()


def report(node: Mapping[str, Any]) -> None:
    """Compare the finished runs of a store."""
    from siftune.runs.report import ReportConfig, load_runs, print_table, write_report

    config: ReportConfig = build(ReportConfig, node)
    runs = load_runs(config)
    print_table(runs, Console())
    _say_written(write_report(runs, config.folder, config))


def compare_runs(folders: Sequence[Path], output: Path | None) -> None:
    """The table of these runs, and with an output folder their report."""
    from siftune.runs.report import print_table, read_runs, write_report

    runs = read_runs(folders)
    print_table(runs, Console())
    if output is not None:
        _say_written(write_report(runs, output))


def _say_written(files: ReportFiles) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for path in (files.page, files.markdown):
        if path is not None:
            console.print(f"written: {path}", markup=False)
    if files.plots:
        console.print(f"written: {len(files.plots)} pictures in {files.plots[0].parent}", markup=False)


def check_methods(node: Mapping[str, Any]) -> None:
    """Refuse an unknown format."""
    build(MethodsConfig, node)


def methods(node: Mapping[str, Any]) -> None:
    """List the selection methods."""
    print_methods(build(MethodsConfig, node))


def _check_sources(config: SignalsConfig) -> None:
    """Files that are not there: said now."""
    if config.selection is None:
        return
    config.runtime.check()
    config.arrays.require_files()
    config.pool.inputs()
    needs = needs_of(config.selection, config.budget, config.arrays, config.reference is not None)
    given = {name.split(".")[1] for name in config.arrays.files()}
    if (needs - given) & {"queries", "query_gradients"}:
        for source in config.target.tasks.values():
            source.inputs()
    if "embeddings" in needs - given:
        check_encoder(config.encoder)
    tagger = config.tagger if "tags" in needs - given else None
    if tagger is not None:
        _check_tagger(tagger)
    if "tag_embeddings" in needs - given or (tagger is not None and tagger.normalise and tagger.normalise.eps):
        check_encoder(config.tag_encoder)
    for name, signal in (("gradients", config.gradients), ("trajectories", config.trajectories)):
        if name in needs - given and signal is not None:
            _check_model(signal.model)
    if "num_tokens" in needs - given:
        _check_model(config.model)


def check_encoder(encoder: Encoder) -> None:
    """Files and hub revisions that it names and that are not there: said now."""
    encoder.inputs()
    if encoder.model is not None:
        _check_model(encoder.model)


def _check_scorer(scorer: Scorer) -> None:
    scorer.inputs()
    models = list(scorer.models.values()) if isinstance(scorer, HasModels) else []
    for model in [*models, *([scorer.model] if scorer.model is not None else [])]:
        _check_model(model)


def _check_tagger(tagger: Tagger) -> None:
    tagger.inputs()
    if tagger.model is not None:
        _check_model(tagger.model)


def _check_model(model: Model) -> None:
    """A model that is not there, or that one has no access to, or whose tokenizer has no chat template."""
    from siftune.finetune.model import load_tokenizer

    model.inputs()
    if not model.needs_build:
        load_tokenizer(model.reference(None))


def check_output(output: Path | None) -> None:
    """Refuse an output folder that is a file."""
    if output is not None and output.exists() and not output.is_dir():
        raise ValueError(f"output={output} is a file: name a folder")


def quiet_libraries() -> None:
    """One bar a stage, ours: not one for every file that a library opens, nor what libraries tell each other."""
    import warnings

    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)


def _typed_overrides() -> list[str]:
    from hydra.core.hydra_config import HydraConfig

    return [str(override) for override in HydraConfig.get().overrides.task] if HydraConfig.initialized() else []


def _in_sweep() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
