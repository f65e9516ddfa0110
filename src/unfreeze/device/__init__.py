"""Device, precision and ranks."""
