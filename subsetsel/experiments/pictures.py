"""A labelled set of pictures as two tensors on the device, cut into batches by index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from subsetsel.experiments.images import Images


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures and labels on one device; a batch is an index away, without a loader.

    Attributes
    ----------
    bytes : tensor of uint8, shape (n, c, h, w)
        In the memory format "channels last".
    labels : tensor of int64, shape (n,)
    mean, scale : tensor of shape (c, 1, 1)
        A batch is (bytes - mean) / scale.
    """

    bytes: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(
        cls,
        pictures: NDArray[np.uint8],
        labels: NDArray[np.int64],
        device: torch.device,
        like: Self | None = None,
    ) -> Self:
        """Move pictures to the device.

        Parameters
        ----------
        pictures : ndarray of uint8, shape (n, h, w) or (n, h, w, c)
        labels : ndarray of int64, shape (n,)
        device : torch.device
        like : Pictures, optional
            Whose mean and scale to use; by default those of ``pictures``, per channel.
        """
        last = pictures[..., None] if pictures.ndim == 3 else pictures
        # Arrays read from files are read-only, which torch does not know.
        own = np.require(last, requirements=["C", "W"])
        stored = torch.from_numpy(own).to(device).permute(0, 3, 1, 2)
        if like is None:
            # Sums without float64 copies: these would be eight times the data set.
            num = last.size / last.shape[3]
            mean = last.sum(axis=(0, 1, 2), dtype=np.float64) / num
            squares = np.einsum("nhwc,nhwc->c", last, last, dtype=np.float64, casting="safe")
            scale = np.sqrt(np.maximum(squares / num - mean**2, 1.0))
            moments = [
                torch.tensor(v, dtype=torch.float32, device=device)[:, None, None]
                for v in (mean, scale)
            ]
        else:
            moments = [like.mean, like.scale]
        return cls(stored, torch.from_numpy(labels).to(device), *moments)

    @classmethod
    def of_both(cls, images: Images, device: torch.device) -> tuple[Self, Self]:
        """Move training and test pictures to the device, with mean and scale of the first."""
        train = cls.of(images.train, images.train_labels, device)
        return train, cls.of(images.test, images.test_labels, device, like=train)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a picture."""
        channels, height, width = self.bytes.shape[1:]
        return channels, height, width

    def subset(self, indices: ArrayLike) -> Self:
        """Take some of the pictures, normalized as all of them are."""
        chosen = torch.as_tensor(np.asarray(indices, dtype=np.int64), device=self.labels.device)
        stored = self.bytes[chosen].contiguous(memory_format=torch.channels_last)
        return type(self)(stored, self.labels[chosen], self.mean, self.scale)

    def batch(self, indices: torch.Tensor | slice) -> torch.Tensor:
        """Cut out normalized pictures, shape (b, c, h, w), float32."""
        return self.normalized(self.bytes[indices])

    def normalized(self, stored: torch.Tensor) -> torch.Tensor:
        """Bytes as the network wants them, float32."""
        values: torch.Tensor = (stored.float() - self.mean) / self.scale
        return values.contiguous(memory_format=torch.channels_last)


def augment(stored: torch.Tensor, padding: int, generator: torch.Generator) -> torch.Tensor:
    """Crop at random after padding with black, and mirror half of the pictures.

    Parameters
    ----------
    stored : tensor of shape (b, c, h, w)
    padding : int
        Pixels on every side, the largest shift.
    generator : torch.Generator
        On the CPU: the same draws on every device.

    Returns
    -------
    tensor of shape (b, c, h, w)
        One gather for the batch; every picture is shifted and mirrored by itself.
    """
    num, _, height, width = stored.shape
    shifts = torch.randint(0, 2 * padding + 1, (2, num, 1), generator=generator)
    is_mirrored = torch.rand((num, 1), generator=generator) < 0.5
    rows = shifts[0] + torch.arange(height)
    columns = torch.arange(width).expand(num, width)
    columns = shifts[1] + torch.where(is_mirrored, width - 1 - columns, columns)
    rows, columns = rows.to(stored.device), columns.to(stored.device)
    padded = torch.nn.functional.pad(stored, (padding,) * 4)
    which = torch.arange(num, device=stored.device)[:, None, None]
    # Indices around a slice put the gathered axes first: (b, h, w, c).
    gathered = padded[which, :, rows[:, :, None], columns[:, None, :]]
    return gathered.permute(0, 3, 1, 2)


def halved(images: Images) -> Images:
    """Shrink every picture to half its sides, for experiments that must be cheap.

    Sides are first padded with black, equally on both ends, to a multiple of 32, so that four
    halvings more leave a pixel; then 2 x 2 pixels become their mean.
    """
    return Images(
        _halve(images.train), images.train_labels, _halve(images.test), images.test_labels
    )


def _halve(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    missing = [-side % 32 for side in pictures.shape[1:3]]
    ends = [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)]
    padded = np.pad(pictures, ends[: pictures.ndim])
    sums = np.zeros(padded[:, ::2, ::2].shape, dtype=np.uint16)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        sums += padded[:, i::2, j::2]
    return ((sums + 2) // 4).astype(np.uint8)
