"""Data quality: counts, chance, what is judged, and how often it alarms for nothing."""
