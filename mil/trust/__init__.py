"""What a score may be believed: calibration, conformal sets, ensembles, outliers, harmonisation; one idea a file."""
