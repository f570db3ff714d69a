"""What leaves the house with a run: NeXus, XDI, CSV, and a crate of all of it."""
