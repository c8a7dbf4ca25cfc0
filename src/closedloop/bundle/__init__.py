"""The files of one model version: skops, ONNX, and the proof that both answer alike."""
