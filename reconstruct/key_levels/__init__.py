"""Key levels one by one, as floats or integers: what `raw`, `interpolate` and `network` share."""
