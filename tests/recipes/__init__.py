"""The examples of docs/recipes.md, run as they stand there."""
