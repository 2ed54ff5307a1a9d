"""The contract: what a row is, where it came from, how it is published. Imports none of the other packages."""
