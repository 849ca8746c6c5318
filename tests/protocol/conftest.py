from hypothesis import settings

# Time limits per example measure the machine, and fail on a busy one; pytest's own limit stops a hang.
settings.register_profile("keyfpn", deadline=None)
settings.load_profile("keyfpn")
