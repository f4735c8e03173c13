"""What is told about a run: manifest, pictures, the environment it ran in."""
