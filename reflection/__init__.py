"""Reflection-Tuning's oracle side: prompts, oracles, the completion store, extraction."""
