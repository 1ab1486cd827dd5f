"""TensorFlow.js: its two kinds of models, and the numbers that lie beside either."""
