"""What users run beside the pipeline."""
