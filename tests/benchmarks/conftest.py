"""The benchmarks are a package at the root of the checkout, which is not installed."""

import sys

from glidepath.cli.bench import benchmarks_folder

sys.path.insert(0, str(benchmarks_folder().parent))
