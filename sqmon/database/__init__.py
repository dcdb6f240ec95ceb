"""The one wing that knows pysqream: a login, a statement, its rows, and every failure in words."""
