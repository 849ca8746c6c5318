"""What computes: an engine takes unpacked frames and gives detections, on whatever threads and devices it has."""
