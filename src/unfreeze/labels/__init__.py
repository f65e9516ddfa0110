"""Labels, from wherever users keep them, and the split."""
