"""History lived again under several policies."""
