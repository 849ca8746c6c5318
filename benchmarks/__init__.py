"""What the project costs and is worth: rate against AP, beside sending the picture."""
