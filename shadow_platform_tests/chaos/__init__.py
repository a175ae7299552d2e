"""What must hold when processes die, hang, or run out of space."""
