"""What is put on the Hub: laid out and checked here, pushed in one commit, and read back."""
