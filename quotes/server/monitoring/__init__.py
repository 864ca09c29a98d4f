"""What the API process tells of itself: health, readiness and metrics."""
