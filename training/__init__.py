"""Training on a selection: formatting and supervised fine-tuning."""
