"""The plots that are kept in MLflow and on the backtest's page, in one style."""
