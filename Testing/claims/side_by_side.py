"""Trainings of a claim side by side: networks for slices gain from a second process, hardly from a second thread."""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from DeepRegistrationLib.io.model_cards import read_model
from DeepRegistrationLib.methods.network_models import load_network


def options(steps: int) -> argparse.ArgumentParser:
    """What every claim of this kind can be asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=steps, help="of each training")
    parser.add_argument("--work", type=Path, help="folder for the trainings, to go on from")
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time")
    return parser


@contextmanager
def workplace(wanted: Path | None) -> Iterator[Path]:
    """The folder that is wanted, or one that goes when the trainings have been read."""
    with tempfile.TemporaryDirectory() as temporary:
        yield wanted or Path(temporary)


def trained_side_by_side(
    training: Callable[..., Path], arguments: Mapping[str, tuple[Any, ...]], processes: int
) -> dict[str, torch.nn.Module]:
    """The networks of training(name, *arguments[name]), the folder of a model, of every name, in so many processes with
    one thread each."""
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        running = {name: pool.submit(training, name, *given) for name, given in arguments.items()}
        return {name: load_network(read_model(job.result())) for name, job in running.items()}
