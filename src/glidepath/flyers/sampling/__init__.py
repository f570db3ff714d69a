"""Rows from updates and triggers: the sampler, its streams, its verdict."""
