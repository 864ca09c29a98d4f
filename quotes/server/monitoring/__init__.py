"""What the API process reports of itself: health, readiness and metrics."""
