"""The cards of data sets, statistics and models: made from the records of a run, never by hand."""
