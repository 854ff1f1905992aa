"""AlpacaEval's published prompt, read from the package alpaca_eval and filled as the package itself fills it."""

from __future__ import annotations

import ast
import copy
import importlib.util
import json
import math
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_module

from siftune.evaluate.alpaca_eval import FIRST, SECOND, AlpacaEval
from siftune.evaluate.tasks import EvaluationError
from siftune.runs.config import experiment_config
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.selection.features.endpoint.endpoint_replies import Reply

SPEC = importlib.util.find_spec("alpaca_eval")
"""Found without importing it: it does not import beside current setuptools."""
needs_package = pytest.mark.skipif(
    SPEC is None, reason="needs the package alpaca_eval: pip install --no-deps alpaca_eval==0.6.6"
)
FILE = "evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt"
PUBLISHED = "evaluators_configs/weighted_alpaca_eval_gpt4_turbo/configs.yaml"
"""AlpacaEval 2's annotator."""
FUNCTIONS = ("make_prompts", "prompt_to_chatml", "random_seeded_choice")
QUESTIONS = 16
OWN = "  mine,\n\nin two\nparagraphs"


def package_folder() -> Path:
    assert SPEC is not None
    assert SPEC.origin is not None
    return Path(SPEC.origin).parent


@pytest.fixture
def functions() -> dict[str, Any]:
    """The package's own functions, out of their module."""
    found: dict[str, Any] = {"re": re, "copy": copy, "random": random, "Counter": Counter, "pd": pd}
    module = ast.parse((package_folder() / "utils.py").read_text(encoding="utf-8"))
    kept = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS]
    assert len(kept) == len(FUNCTIONS)
    future = ast.parse("from __future__ import annotations").body
    exec(compile(ast.Module([*future, *kept], []), "utils.py", "exec"), found)
    return found


@pytest.fixture
def task(tmp_path: Path) -> AlpacaEval:
    """By its config, with made reference outputs."""
    rows = [
        {"instruction": f"Name {i} things.\n", "output": f" Thing {i}\n" + 'a """word""" {0} \\1 ' * i}
        for i in range(QUESTIONS)
    ]
    (tmp_path / "alpaca_eval_gpt4_baseline.json").write_text(json.dumps(rows), encoding="utf-8")
    overrides = [
        *["selection=none", "finetune=none", "model=tiny", "evaluate=novelsum", "~evaluate.tasks.mt_bench"],
        *[f"evaluate.data_dir={tmp_path}", "evaluate.judge.model=m", "evaluate.tasks.alpaca_eval.gamed=null"],
        f"evaluate.tasks.alpaca_eval.template=package:alpaca_eval/{FILE}",
    ]
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        suite = experiment_config(plain_node(compose("run", overrides=overrides))).evaluate
    assert suite is not None
    found = suite.tasks["alpaca_eval"]
    assert isinstance(found, AlpacaEval)
    return found


@needs_package
def test_messages_are_those_that_the_package_would_send(task: AlpacaEval, functions: dict[str, Any]) -> None:
    task.check(None)
    template = (package_folder() / FILE).read_text(encoding="utf-8")
    orders = Counter[bool]()
    for question in task.questions(None):
        instruction, other = question.asked[0], question.material[0]
        # RandomSwitchTwoColumnsProcessor with the annotator's seed; the reference is output_1.
        swapped = functions["random_seeded_choice"](f"is_switched_outputs{instruction}0", [False, True])
        first, second = (OWN, other) if swapped else (other, OWN)
        row = {"instruction": instruction, "output_1": first, "output_2": second}
        (prompt,), _ = functions["make_prompts"](pd.DataFrame([row]), template)
        (ask,) = task.asks(question, [OWN])
        assert list(ask.messages) == functions["prompt_to_chatml"](prompt.strip())
        assert [message["role"] for message in ask.messages] == ["system", "user"]
        assert ask.swapped == swapped
        orders[swapped] += 1
    assert set(orders) == {False, True}


@needs_package
def test_request_and_verdict_are_the_published_annotators(task: AlpacaEval) -> None:
    config = yaml.safe_load((package_folder() / PUBLISHED).read_text(encoding="utf-8"))
    (annotator,) = config.values()
    assert f"evaluators_configs/{annotator['prompt_template']}" == FILE
    published = annotator["completions_kwargs"]
    assert task.options == {name: value for name, value in published.items() if name != "model_name"}
    parser = annotator["completion_parser_kwargs"]
    assert (parser["numerator_token"], parser["denominator_tokens"]) == (FIRST, [FIRST, SECOND])
    assert parser["is_binarize"] is False
    # 2 less the first name's share is the package's preference, 1 to 2; here it is 0 to 1.
    ask = next(ask for question in task.questions(None) for ask in task.asks(question, [OWN]) if not ask.swapped)
    reply = Reply("m", True, {"m": math.log(0.6), "M": math.log(0.2), "The": math.log(0.1)})
    assert task.verdict(reply, ask) == pytest.approx((2 - 0.6 / 0.8) - 1)


@pytest.mark.skipif(SPEC is not None, reason="the package alpaca_eval is installed: nothing is missing")
def test_missing_package_is_said_with_the_remedy(task: AlpacaEval) -> None:
    with pytest.raises(EvaluationError, match=r"alpaca_eval is not installed: `pip install --no-deps alpaca_eval`"):
        task.check(None)
