"""The charts of a report: small data and words, from the numbers of all rows."""
