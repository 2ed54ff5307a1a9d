"""The report: one self-contained page on what recycling did, row by row."""
