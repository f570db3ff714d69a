"""Property tests that try the same examples every time, and not too many."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "glidepath",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("glidepath")
