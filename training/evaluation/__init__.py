"""How good a detector is: metrics, intervals, calibration, passages, plots."""
