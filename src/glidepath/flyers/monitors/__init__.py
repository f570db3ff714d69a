"""Updates of readbacks into memory: libca without the interpreter, or aioca."""
