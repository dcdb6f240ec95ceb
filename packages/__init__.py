"""What a release carries beside the program: completions, man pages, and the Debian package; `python -m packages` writes the first two."""
