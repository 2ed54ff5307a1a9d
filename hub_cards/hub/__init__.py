"""What is asked of the Hub: commits, listings, files and columns of them, with timeouts, retries and a cache."""
