"""TensorFlow and TensorFlow Recommenders, imported in the one order that works.

TFRS 0.7 is written for Keras 2, and TensorFlow reads this variable once, when it is imported.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
import tensorflow_recommenders as tfrs

__all__ = ["tf", "tfrs"]
