"""Definition 1 of the paper, kept by refitting the head on what remains."""
