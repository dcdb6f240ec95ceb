"""The report: one HTML file that tells what a cluster did within a range of time."""
