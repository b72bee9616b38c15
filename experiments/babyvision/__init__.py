"""BabyVision: basic visual skills, procedurally. See README.md."""
