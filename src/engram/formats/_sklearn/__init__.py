"""Estimators of scikit-learn as graphs: read from inert records, never from living objects.

A pickle of an estimator names its class and holds a dictionary. What that dictionary means is written down here, one
kind of estimator after the other, so that no line of scikit-learn runs and every learned number keeps its name
(``coefs_.0``). Rejected: rebuilding the objects and converting them with skl2onnx, which needs the very release that
wrote the file, and names the numbers anew.
"""
