"""Selecting examples to train a whole network on, with the user's own training as the referee.

A composition says which difficulty and which classes are kept. The referee, `train` of the user,
judges compositions on labelled examples that were set aside before anything was chosen.
"""
