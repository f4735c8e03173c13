"""What is asked and what is answered: S, a goal, limits on W; a subset of the examples."""
