"""The canonical graph: ONNX as Engram writes it. The only package that imports ``onnx``.

Opset 21, ``ai.onnx.ml`` 5, IR version 10, no stale shapes, no weights inside: older runtimes read what is written here
for years to come, and a thousand checkpoints share one graph.
"""
