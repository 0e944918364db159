"""Fine-tuning: a Ray Train job around an own loop that resumes exactly."""
