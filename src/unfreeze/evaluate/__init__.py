"""Metrics and test-time augmentation."""
