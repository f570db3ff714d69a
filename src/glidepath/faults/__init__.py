"""The laboratory of faults: cases, checks against the truth, tables; for tests and benchmarks."""
