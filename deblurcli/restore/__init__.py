"""Running a network over whole pictures and whole videos."""
