"""Side-by-side measurements that print ratios; they are never tests."""
