"""Threads that each take a part of the work and compute it by themselves.

A product that several threads share ends when the last of them does, which on a machine with other work to do costs far
more than a small product; so blocks of small products are given out whole instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def workers(most: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch has (OMP_NUM_THREADS), or `most`; inside this block torch's are shared out among them.

    With as many threads as torch has, each computes with one.
    """
    threads = torch.get_num_threads()
    number = threads if most is None else min(threads, most)
    share = max(1, threads // number)
    torch.set_num_threads(share)
    try:
        with ThreadPoolExecutor(number, initializer=torch.set_num_threads, initargs=(share,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
