"""Data in shards: where they lie, who holds them, and what is done with each; no pruning."""
