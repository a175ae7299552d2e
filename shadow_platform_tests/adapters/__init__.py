"""Each adapter of a kind passes the same contract suite."""
