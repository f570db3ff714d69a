"""The one exception of the catalogue, so that callers can show its sentence and stop."""


class CatalogError(ValueError):
    """Something a user can put right; the text is one sentence that says how."""
