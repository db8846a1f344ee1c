"""Property tests take as long as the machine takes: on a busy one, a deadline for each example says nothing."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
