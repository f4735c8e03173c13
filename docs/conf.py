"""How the pages are built: `make docs`. Warnings are errors, so that nothing rots unseen."""

from __future__ import annotations

import re
from typing import Any

import subsetsel

project = "subsetsel"
author = "The subsetsel developers"
version = release = subsetsel.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = f"subsetsel {version}"
html_show_copyright = False
pygments_style = "friendly"

# A name between single backticks in a docstring is a link where there is something to link to.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Pages link to files of the repository that are no pages of this site.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)]+)\)")
_LITERAL = re.compile(r"(``.+?``|`[^`]+`)")


def _name_files_outside(app: Any, name: str, source: list[str]) -> None:
    source[0] = _OUTSIDE.sub(
        lambda match: f"{match[1]} (`{match[2].replace('../', '')}` in the repository)", source[0]
    )


def _escape_norms(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep ||W^T S||_2 from being read as a substitution."""
    is_code = False
    for i, line in enumerate(lines):
        if line.lstrip().startswith(">>>"):
            is_code = True
        elif not line.strip():
            is_code = False
        if not is_code:
            parts = _LITERAL.split(line)
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            lines[i] = "".join(parts)


def setup(app: Any) -> None:
    """Register both."""
    app.connect("source-read", _name_files_outside)
    app.connect("autodoc-process-docstring", _escape_norms, priority=100)
