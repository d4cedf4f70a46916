"""The benchmarks, with the peers they are measured against."""
