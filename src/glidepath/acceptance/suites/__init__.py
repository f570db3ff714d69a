"""The ready-made tests, one module for each family of devices."""
