"""``python -m subsetsel`` is the command ``subsetsel``."""

from subsetsel.cli import main

main()
