"""Recipes, and the candidates that are fitted by them."""
