"""Recipes, and the candidates that they fit."""
