"""What TensorFlow writes, read and written without TensorFlow.

The way in: ``wire`` counts, ``messages`` parses, ``graph`` makes records, ``allowed`` refuses, ``trace`` walks from
the answers back and hands each operation to a reader (``read_*``), which writes ONNX through ``nodes``. The way out:
``lowering`` hands each node of ONNX to a writer (``write_*``), which writes TensorFlow through ``sheet``. Both go
through plain records, so that neither TensorFlow nor its half gigabyte is ever imported.
"""
