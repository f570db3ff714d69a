"""A beamline that brings devices of its own: the examples of the page "Extending"."""
