"""The codec `interpolate`: missing levels by bilinear scaling, the rule of the study."""
