"""Drift stage: statistics against scipy, rules on frames with a known truth, rates by simulation."""
