"""What is measured: drift, scores, paired comparisons, AUC without labels."""
