"""What a release carries beside the program."""
