"""What the benchmarks compare with: the published tutorial recipe, in our own code, untuned."""
