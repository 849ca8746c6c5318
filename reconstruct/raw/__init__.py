"""The codec `raw`: the key levels as they are, nothing rebuilt."""
