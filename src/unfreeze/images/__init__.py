"""Image files and radar records, decoded once into one array."""
