"""From a recorded config back to a command that composes to it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from hydra import compose, initialize_config_module

from siftune.runs.config import experiment_config, select_config
from siftune.runs.fingerprint import identity, plain
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.rebuild import Command, rebuild

ROUNDS = ["experiment=refinement", "hydra.mode=RUN", "refinement.cluster_by=source", "finetune.micro_batch_size=2"]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        yield


def config_of(command: Command, overrides: list[str]) -> Any:
    node = plain_node(compose(command, overrides=overrides))
    return select_config(node) if command == "select" else experiment_config(node)


@pytest.mark.parametrize(
    ("command", "overrides", "short"),
    [
        ("run", ["selection=random", "seed=2"], ["selection=random", "seed=2"]),
        (
            "select",
            ["pool=file", "pool.path=my rows.jsonl", 'pool.rows="0:300"', "selection=mig", "tagger=keywords"],
            ["pool=file", "tagger=keywords", "selection=mig", "pool.path=*", "pool.rows=*"],
        ),
        (
            "select",
            ["selection=perplexity_mid", "scorer@scorers.loss=superfiltering", "~scorers.length", "budget=tokens"],
            None,
        ),
        ("select", ["selection=deita", "+scorer@scorers.judges=judge", "scorers.judges.endpoint.model=mine"], None),
        ("run", ROUNDS, None),
    ],
    ids=["random", "file", "scorers", "added", "rounds"],
)
def test_the_command_composes_to_the_recorded_config(
    command: Command, overrides: list[str], short: list[str] | None
) -> None:
    config = config_of(command, overrides)
    rebuilt = rebuild(plain(config), command)
    assert rebuilt.differs == ()
    assert identity(rebuilt.config) == identity(config)
    assert identity(config_of(command, shlex.split(rebuilt.text)[2:])) == identity(config)
    if short is not None:
        kept = [key if value != "*" else f"{key}=" for key, _, value in (item.partition("=*") for item in short)]
        assert len(rebuilt.overrides) == len(short)
        assert all(any(made.startswith(key) for made in rebuilt.overrides) for key in kept)


def test_a_runs_config_gives_the_selection_of_its_subset() -> None:
    config = config_of("run", ["selection=random", "evaluate=skills_all", "finetune.epochs=2", "store=elsewhere"])
    assert rebuild(plain(config), "select").text == "siftune select selection=random"


def test_a_config_that_is_no_longer_understood_is_said_to_be_so() -> None:
    recorded = plain(config_of("select", []))
    recorded["selection"] = {"class": "Vanished", "power": 3}
    rebuilt = rebuild(recorded, "select")
    assert rebuilt.differs
    assert rebuilt.config is None
