"""Likelihood scoring and selection: what the student's own losses say about a row."""
