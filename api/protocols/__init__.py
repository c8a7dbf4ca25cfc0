"""MLflow's scoring protocol and Open Inference v2."""
