"""Calibration: a sensor's maps and numbers from recordings in the dark and of even light, and tests of a sensor."""
