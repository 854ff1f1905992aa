"""Every YAML under conf/ composes and becomes typed objects; wrong configs are refused in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from siftune.runs.build import ConfigError
from siftune.runs.config import ExperimentConfig, SelectConfig, experiment_config, select_config
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, check_command, plain_node

CONF = Path(__file__).resolve().parent.parent / "conf"
PRIMARY = {"run", "select", "report", "methods", "signals"}

NEEDS = {
    ("target", "none"): ["selection=random"],
    ("finetune", "none"): ["selection=none"],
    ("evaluate", "none"): ["selection=random"],
    ("experiment", "correlation"): ["selection=random"],
    ("refinement", "diversify"): ["selection=kmq"],
    ("refinement", "diversify_judge"): ["selection=kmq"],
    ("refinement", "diversify_reward"): ["selection=kmq"],
    ("refinement", "diverse_evol"): ["selection=kcenter_greedy", "encoder=mean"],
    ("backend", "chat"): ["selection=none", "finetune=none", "backend.model=m"],
    ("backend", "completions"): ["selection=none", "finetune=none", "backend.model=m"],
    ("judged", "mt_bench"): ["evaluate=novelsum"],
    ("judged", "alpaca_eval"): ["evaluate=novelsum"],
    ("judged", "wildbench"): ["evaluate=novelsum"],
}
"""What an option cannot go without."""
PLACES = {
    "judge": "+judge@evaluate.judge",
    "judged": "+judged@evaluate.tasks.another",
    "scorer": "scorer@scorers.loss",
}
"""Groups whose options do not stand at the place of the same name."""


def options() -> list[tuple[str, str]]:
    """(group, option) of every YAML that belongs to a group of siftune's; test_paper_experiments.py has those of the
    papers, which lie in folders of their own."""
    files = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
    return [(path.parent.as_posix(), path.stem) for path in files if path.parts[0] != "hydra" and len(path.parts) == 2]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        yield


def node(overrides: list[str], primary: str = "run") -> dict[str, Any]:
    return plain_node(compose(primary, overrides=overrides))


def _missing(config: Any) -> list[str]:
    """Overrides for the keys that a YAML leaves to the user."""
    return [f"{key}=given" for key in sorted(OmegaConf.missing_keys(config))]


@pytest.mark.parametrize(("group", "option"), options(), ids=lambda value: value)
def test_every_option_composes_and_instantiates(group: str, option: str) -> None:
    overrides = [f"{PLACES.get(group, group)}={option}"]
    overrides += NEEDS.get((group, option), ["selection=random"] if group == "pool" else [])
    overrides += _missing(compose("run", overrides=overrides))
    assert isinstance(experiment_config(node(overrides)), ExperimentConfig)


def test_the_defaults_of_both_commands_instantiate() -> None:
    assert isinstance(experiment_config(node([])), ExperimentConfig)
    assert isinstance(select_config(node([], "select")), SelectConfig)


def test_the_generated_pool_brings_its_target_and_no_other_pool_does() -> None:
    assert set(experiment_config(node([])).target.tasks) == {"shell", "sql"}
    own = ["pool=file", "pool.path=rows.jsonl", "selection=random"]
    assert experiment_config(node(own)).target.tasks == {}
    assert set(experiment_config(node([*own, "target=skills"])).target.tasks) == {"shell", "sql"}


def test_every_field_of_an_option_is_spelt_out_in_its_yaml() -> None:
    """People see what can be set: `--cfg job` shows every hyperparameter of the default options."""
    import dataclasses

    config = experiment_config(node([]))
    shown = node([])
    for group in (
        "pool",
        "model",
        "encoder",
        "gradients",
        "trajectories",
        "selection",
        "budget",
        "finetune",
        "tracking",
    ):
        fields = {field.name for field in dataclasses.fields(getattr(config, group))}
        assert fields <= set(shown[group]), f"conf/{group}: {fields - set(shown[group])} are not in the YAML"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["selection=rds_pluss"], ["rds_plus", "Did you mean"]),
        (["selektion=random"], ["selektion", "Did you mean selection"]),
        (["pool.siez=3"], ["pool.siez", "Did you mean size"]),
        (["selection.aggregation=maxx"], ["selection.aggregation=maxx", "Did you mean max"]),
        (["seed=abc"], ["seed='abc'", "int"]),
        (["budget.amount=0"], ["budget", "positive"]),
        (["budget=fraction", "budget.amount=1.5"], ["budget.amount=1.5", "at most 1"]),
        (["target=none"], ["target=queries", "rds_plus"]),
        (["pool=file", "pool.path=x"], ["target=queries", "rds_plus"]),
        (["finetune=none"], ["finetune=none", "siftune select"]),
        (["pool=file"], ["pool.path"]),
        (["evaluate=heldout", "evaluate.tasks.heldout.data.path=x"], ["Did you mean heldout_loss"]),
        (["finetune.max_length=100000"], ["finetune.max_length", "model.max_length"]),
        (["evaluate=diviter", "evaluate.tasks.mmlu.limit=2"], ["no entry limit yet", "+evaluate.tasks.mmlu.limit="]),
        (["backend=chat", "backend.model=m"], ["serves its own model 'm'", "selection=none finetune=none"]),
        (["backend=vllm", "+backend.options.dtype=float16"], ["backend.options.dtype", "siftune sets it"]),
    ],
)
def test_mistakes_are_refused_before_compute(overrides: list[str], words: list[str]) -> None:
    def check(cell: Any) -> None:
        experiment_config(cell)

    GlobalHydra.instance().clear()
    with pytest.raises(ConfigError) as refused:
        check_command("run", overrides, multirun=False, config_dir=None, check=check)
    for word in words:
        assert word in str(refused.value)


def test_the_last_cell_of_a_sweep_is_checked_before_the_first_runs() -> None:
    GlobalHydra.instance().clear()
    seen: list[Any] = []

    def check(cell: Any) -> None:
        seen.append(experiment_config(cell).seed)

    with pytest.raises(ConfigError, match="seed='x'"):
        check_command("run", ["selection=random", "seed=0,1,x"], multirun=True, config_dir=None, check=check)
    assert seen == [0, 1]


def test_an_option_that_shares_a_class_has_a_name_of_its_own() -> None:
    assert select_config(node(["selection=embedding"], "select")).name == "embedding"
    assert select_config(node(["selection=embedding", "label=mine"], "select")).name == "mine"
    assert select_config(node(["selection=superfiltering"], "select")).name == "superfiltering"
    assert select_config(node(["selection=perplexity_mid"], "select")).name == "perplexity_mid"
    assert select_config(node(["selection=kmeans_median", "selection.num_clusters=7"], "select")).name == (
        "kmeans_median(num_clusters=7)"
    )
