"""The files: writing lines to segments or a single file, sealing, archiving, retention, and reading them back."""
