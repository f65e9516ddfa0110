"""Training: schedules, the learning-rate finder, augmentation and the loop."""
