"""Tests that look through a browser's eyes, and see that no page needs the internet."""
