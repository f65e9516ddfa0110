"""Providers of backbones, one module each, and the `Backbone` that they give."""
