"""The command ``subsetsel``.

Exit codes, the same for every command: 0 done; 1 no subset satisfies the limits, or the check by
exact refit fails; 2 bad input; 130 interrupted, with the best subset so far saved.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from subsetsel.cli.interrupt import quits_at_once

    with quits_at_once():
        from subsetsel.cli.app import app

        app(prog_name="subsetsel")
