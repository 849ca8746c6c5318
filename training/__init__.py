"""What makes model files: trainings and fits, by what is trained."""

import keyfpn.detector.torch  # noqa: F401  # before torchvision is imported: keeps torch's compiler out of what needs none
