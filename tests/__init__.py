"""The tests: the wings of sqmon have directories of their own here, and tests.support has what tests share."""
