"""The influence of each example on any parameters of a network, approximately."""
