"""Speed, memory and results, measured and recorded; `python -m benchmarks` runs them all."""
