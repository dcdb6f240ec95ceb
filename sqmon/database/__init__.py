"""Everything that knows pysqream: login, statements, decoding of results, and errors explained."""
