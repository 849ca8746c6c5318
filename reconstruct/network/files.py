"""The names of the network's files in a model folder."""

FOLDER = "network"
SHAPE_FILE, WEIGHTS_FILE = f"{FOLDER}/network.json", f"{FOLDER}/network.safetensors"
