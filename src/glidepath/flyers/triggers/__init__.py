"""What makes the triggers of a scan: boxes, clocks, and the plans of what they will do."""
