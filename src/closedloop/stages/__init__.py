"""The four stages of dvc.yaml: each leaves files, from which the next one goes on."""
