"""A model version: its files, what answers with them, and the proof that ONNX may answer."""
