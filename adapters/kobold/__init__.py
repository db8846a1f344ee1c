"""KoboldCpp, and the API of KoboldAI that it took over."""
