"""One progress bar for one piece of work: what libraries say besides is left out."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import partial

import datasets
import lm_eval.api.task


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """lm-eval and datasets tell of every setting and file, and show a bar for the making of each subtask's prompts
    (MMLU has 57); progress bars over requests stay."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "transformers")]
    levels = [logger.level for logger in loggers]
    bars = datasets.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    bar_of_prompts = lm_eval.api.task.tqdm
    lm_eval.api.task.tqdm = partial(bar_of_prompts, disable=True)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        lm_eval.api.task.tqdm = bar_of_prompts
        if not bars:
            datasets.enable_progress_bars()
