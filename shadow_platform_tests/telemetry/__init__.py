"""What processes say about themselves: lines of log, spans, and nobody's data in either."""
