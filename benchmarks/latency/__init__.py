"""Time: whether the two halves are the detector, and what edge and server spend on each part."""
