"""The tests; tests.support.program starts the real thing, tests.simulator tests what it is tested against."""
