"""Runs requests together: which may share a run, how they are joined and how the answers are taken apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import RequestError

Array = npt.NDArray[np.generic]
Tensors = dict[str, Array]


@dataclass(frozen=True)
class Work:
    """One request, ready to run. `index` is its place among the requests of this execution.

    Shapes: with batching every array of `feed` is (batch, ...), else as configured.
    """

    index: int
    feed: Tensors
    wanted: frozenset[str]

    @property
    def batch_size(self) -> int:
        """The request's own share of the first dimension; Triton made sure that all its inputs have the same."""
        return len(next(iter(self.feed.values())))


def group(works: Iterable[Work], *, batching: bool) -> list[list[Work]]:
    """Puts those requests together that can be one run: same inputs, same shapes behind the batch dimension."""
    if not batching:
        return [[work] for work in works]
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[Work]] = {}
    for work in works:
        key = tuple(sorted((name, array.shape[1:]) for name, array in work.feed.items()))
        groups.setdefault(key, []).append(work)
    return list(groups.values())


def join(works: Sequence[Work]) -> Tensors:
    """Concatenates the inputs of a group along the batch dimension."""
    if len(works) == 1:
        return works[0].feed
    return {name: np.concatenate([work.feed[name] for work in works]) for name in works[0].feed}


def split(outputs: Mapping[str, Array], works: Sequence[Work]) -> list[Tensors]:
    """Gives each request of a group its rows of the outputs.

    Raises:
        RequestError: An output does not have one row for each row of the input, so nobody can say whose is whose.
    """
    total = sum(work.batch_size for work in works)
    for name, array in outputs.items():
        if not array.ndim or array.shape[0] != total:
            raise RequestError(
                f"output '{name}' has shape {list(array.shape)} for a batch of {total}: the graph does not keep the "
                "batch dimension; set max_batch_size to 0"
            )
    answers = []
    start = 0
    for work in works:
        stop = start + work.batch_size
        answers.append({name: array[start:stop] for name, array in outputs.items()})
        start = stop
    return answers
