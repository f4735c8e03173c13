"""Where joint influence serves a sentence encoder: MiniLM on sources and on sentiment."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from asked_head import HeadSettings, Task
from data import DataMissingError, find_folder
from map_pretrained import DEPTHS, Costs, Pretrained, depth_of, study_settings
from map_study import EVERYTHING, RANDOM, Asked, Cell
from map_validity import METHODS
from numpy.typing import NDArray
from pretrained_body import ALL, FROZEN, LAST, Depth, Indices
from select_settings import HERDING, JOINT, KEPT_HESSIAN, REFEREE
from sentence_encoder import SentenceEncoder, encoder_packages
from tune import Way

from subsetsel.errors import FileFormatError
from subsetsel.experiments.runs import RunLog

SOURCES = {
    "movie": "movieReviewSnippets",
    "amazon": "amazonReviewSnippets",
    "nyt": "nytEditorialSnippets",
    "tweet": "tweets",
}
"""Name -> how its file begins, in the order of the embeddings."""
NEUTRAL = 0.5
"""Ratings go from -4 to 4; the first digit of a mean of twenty people is all that they agree on."""
KEPT_OF_ALL_LAYERS = (50, 500)
METHODS_OF_ALL_LAYERS = (RANDOM, HERDING, REFEREE, JOINT, KEPT_HESSIAN)
_RESERVED = 4703
_ARCHIVES = ("vaderSentiment-3.3.2.tar.gz", "vadersentiment-3.3.2.tar.gz")
_INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"


def read_texts(folders: Sequence[Path]) -> tuple[list[str], NDArray[np.float64]]:
    """Read the sentences and their ratings out of the source distribution of vaderSentiment.

    Raises
    ------
    DataMissingError
        Naming the places that were tried, and the command that brings the file.
    FileFormatError
        If it is there and is not what it should be.
    """
    found = [folder / name for folder in folders for name in _ARCHIVES if (folder / name).exists()]
    if not found:
        raise DataMissingError(
            f"there is no {_ARCHIVES[0]}, which holds the sentences, in "
            f"{' or '.join(map(str, folders))}; python -m pip download --no-deps --no-binary "
            f"vaderSentiment vaderSentiment==3.3.2 -d {folders[0]}"
        )
    try:
        with tarfile.open(found[0]) as outer:
            inside = next(name for name in outer.getnames() if name.endswith(_INNER))
            raw = _member(outer, inside)
        with tarfile.open(fileobj=io.BytesIO(raw)) as inner:
            files = [
                _member(inner, f"hutto_ICWSM_2014/{start}_GroundTruth.txt")
                for start in SOURCES.values()
            ]
        return parse_ratings(b"\r\n".join(files).decode())
    except (tarfile.TarError, EOFError, KeyError, StopIteration, ValueError) as error:
        raise FileFormatError(f"{found[0]} is damaged: {error}; load it anew.") from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()


def parse_ratings(text: str) -> tuple[list[str], NDArray[np.float64]]:
    """Read lines of a number, a rating and a sentence, with tabs between."""
    # A sentence may hold what Python counts as an end of a line.
    lines = [line.split("\t", 2) for line in text.split("\r\n") if line]
    return [line[2] for line in lines], np.array([float(line[1]) for line in lines])


def sentiment_task(ratings: NDArray[np.float64], order: Indices) -> Task:
    """Tell positive from negative; what is rated between -0.5 and 0.5 takes no part."""
    is_clear = np.abs(ratings) > NEUTRAL
    return split_task((ratings > 0).astype(np.int64), 2, order[is_clear[order]], order)


def split_task(labels: Indices, num_classes: int, part: Indices, order: Indices) -> Task:
    """Reserve for tests what stands first in an order; of both sides only a part is taken."""
    is_reserved = np.isin(part, order[:_RESERVED])
    return Task(np.sort(part[~is_reserved]), np.sort(part[is_reserved]), labels, num_classes)


class Text(Pretrained):
    """MiniLM: where a sentence is from, and whether people find it positive."""

    name = "text"
    title = "Where joint influence serves a sentence encoder: MiniLM"
    ways: ClassVar[Mapping[Depth, Way]] = {
        LAST: Way(3e-4, 3e-3, 1.5, 30, 100),
        ALL: Way(1e-4, 3e-3, 1.5, 30, 100),
    }
    head: ClassVar[HeadSettings] = HeadSettings(1e-3, None, 2000, 20.0)
    # Processor seconds at AVX-512, where the product of `slowness` ran at 106 GFLOP/s.
    spent: ClassVar[Costs] = Costs(
        product=0.0202,
        states=158.0,
        head=4.0,
        refit=0.1,
        joint=1.0,
        herding=0.75,
        linearised=6.0,
        seen={LAST: 0.0037, ALL: 0.0285},
        read={LAST: 0.0015, ALL: 0.0065},
    )
    settings: ClassVar[dict[str, Any]] = {
        **study_settings(ways, head),
        "reserved": _RESERVED,
        "neutral": NEUTRAL,
    }
    about = (
        "MiniLM-L6 embeds 23,703 English sentences of reviews, editorials and tweets; source is "
        "which of four places a sentence is from, sentiment the sign of its human rating, without "
        "ratings from -0.5 to 0.5 (a fifth of all). A seed draws 10,000 sentences to choose from "
        "and 1,000 to test on, out of 4,703 that nothing else sees. All methods ask the same "
        "theta-hat: the softmax head on the pre-trained embeddings of the 10,000, exactly fitted "
        "(l2 = 1e-3), which also gives EL2N. "
        + DEPTHS
        + " Last block: the lower five are run once; rates 3e-4 and 3e-3 (head). All layers: with "
        "the embeddings of words, 1e-4 and 3e-3. Both: 1.5 passes over what is kept, 30 to 100 "
        "steps of 16. All layers are trained by five methods and on everything, and for 50 and 500 "
        "kept alone, which is what an hour holds."
    )
    asked = Asked(
        cases=tuple(
            f"{task}, {depth}" for task in ("source", "sentiment") for depth in (FROZEN, LAST, ALL)
        ),
        methods=METHODS,
        num_kept=(50, 200, 500, 2000),
        seeds=tuple(range(5)),
    )

    def __init__(self, log: RunLog, data_dir: Path | None, cache_dir: Path) -> None:
        super().__init__(log, data_dir, cache_dir)
        encoder_packages()
        folder = find_folder("sentences", data_dir)
        self._texts, self._ratings = read_texts([cache_dir, folder])
        with np.load(folder / "sentences.npz", allow_pickle=False) as held:
            self._embeddings, self._sources = held["X"], held["y"]
        if len(self._sources) != len(self._texts):
            raise FileFormatError(
                f"{folder / 'sentences.npz'} holds {len(self._sources)} embeddings, and there are "
                f"{len(self._texts)} sentences."
            )

    def leaves_out(self, cell: Cell) -> bool:
        """All layers are trained by some methods and for two numbers kept alone."""
        _, depth = depth_of(cell.case)
        is_asked = cell.num_kept in KEPT_OF_ALL_LAYERS and cell.method in METHODS_OF_ALL_LAYERS
        return depth == ALL and cell.method != EVERYTHING and not is_asked

    @cached_property
    def body(self) -> SentenceEncoder:
        """MiniLM over all sentences."""
        return SentenceEncoder(self._texts, self._embeddings, self.cache_dir)

    @cached_property
    def tasks(self) -> Mapping[str, Task]:
        """Four sources, and two signs of a rating."""
        order = np.random.default_rng(0).permutation(len(self._texts))
        sources = np.unique(self._sources, return_inverse=True)[1].astype(np.int64)
        return {
            "source": split_task(sources, len(SOURCES), order, order),
            "sentiment": sentiment_task(self._ratings, order),
        }
