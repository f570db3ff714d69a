"""How each kind of axis flies: the flight, its back ends, and which back end flies which axis."""
