"""A linear head at its minimum, its Hessian, and the influence of each example on it."""
