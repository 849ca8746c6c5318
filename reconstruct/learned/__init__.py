"""The codec `learned`: small integer latents instead of levels, and the networks that make and read them."""
