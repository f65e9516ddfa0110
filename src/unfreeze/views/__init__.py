"""Rows to batches to logits."""
