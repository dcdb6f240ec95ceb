"""The live view: what the polls of a cluster say at a moment, as tables on a terminal that is given back as it was."""
