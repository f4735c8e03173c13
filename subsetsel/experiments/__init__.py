"""The paper's experiments: networks, data, training, and the comparison of what is kept.

Needs torch; nothing else in the package imports it.
"""
