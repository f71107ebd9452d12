"""What this package costs, side by side with its peers: `python -m benchmarks`."""
