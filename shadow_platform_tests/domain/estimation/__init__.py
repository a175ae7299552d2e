"""Tests of the estimation stage: metrics, calibration, intervals, the performance verdict."""
