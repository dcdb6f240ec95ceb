"""The proof of delivery: whether every line is whole in the files, and in Loki exactly once."""
