"""Features and labels from a model and a data set."""
