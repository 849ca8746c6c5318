"""What the project costs and is worth: rate against AP, beside sending the picture."""

import warnings

# Of libraries, about libraries; here rather than in the command, so that worker processes are as quiet.
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # detectron2.model_zoo
warnings.filterwarnings("ignore", message="torch.meshgrid")  # detectron2's anchor generator
