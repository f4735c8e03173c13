"""How a file of examples is to be read: which column is what, and how its text is written."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from subsetsel.errors import OptionError

_TAB = {"tab", "\\t"}


@dataclass(frozen=True)
class Text:
    """How the text of a table is written.

    Attributes
    ----------
    delimiter : str or None
        One character between two cells, or ``tab``; by default what the ending of the name says.
    decimal : str
        ``.`` or ``,``.
    encoding : str
    """

    delimiter: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            mark = "\t" if self.delimiter in _TAB else self.delimiter
            object.__setattr__(self, "delimiter", mark)
            if len(mark) != 1 or mark in '"\r\n' or mark.isalnum():
                raise OptionError(
                    "--delimiter must be one character between two cells, such as ';', or tab; "
                    f"got {self.delimiter!r}."
                )
        if self.decimal not in {".", ","}:
            raise OptionError(f"--decimal must be . or , and got {self.decimal!r}.")
        try:
            # Of the codecs, only those of text can open a file.
            "".encode(self.encoding)
            codecs.lookup(self.encoding)
        except (LookupError, ValueError) as error:
            raise OptionError(
                f"--encoding must name an encoding of text that Python knows, such as utf-8, "
                f"utf-16 or latin-1; got {self.encoding!r}."
            ) from error

    def separator(self, ending: str) -> str:
        """Choose what stands between two cells of a file whose name ends so."""
        mark = self.delimiter or ("\t" if ending.startswith(".tsv") else ",")
        if mark == self.decimal:
            raise OptionError(
                f"the file has {mark!r} between its cells, and --decimal {self.decimal} says that "
                "it is in the numbers; say what is between the cells, such as --delimiter ';'."
            )
        return mark


PLAIN_TEXT = Text()


@dataclass(frozen=True)
class Reading:
    """Which column of a table, or which array, is what.

    Attributes
    ----------
    label, identity : str
    features : tuple of str
        All others if none is named.
    drop : tuple of str
    weight : str or None
    labels : Path or None
        Another file, which holds the labels.
    keep_na : bool
        Whether NA, nan, null and None are labels like others.
    needs_ids : bool
        Whether ids that are named, and not there, are an error.
    text : Text
    """

    label: str = "y"
    identity: str = "id"
    features: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    weight: str | None = None
    labels: Path | None = None
    keep_na: bool = False
    needs_ids: bool = True
    text: Text = PLAIN_TEXT
