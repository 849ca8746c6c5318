"""Rate against AP: split inference with every codec, beside the picture sent as an image file."""
