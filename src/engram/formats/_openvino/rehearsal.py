"""A first network, of one node: OpenVINO loads its front end for ONNX only then, which takes a tenth of a second.

Imported by the nursery, so that every worker is forked with it in place. It is not done later, because OpenVINO numbers
the nodes it has seen, and a file would depend on how many there were before.
"""

import openvino
from onnx import TensorProto, helper

_ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
_graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "rehearsal", _ends[:1], _ends[1:])
_core = openvino.Core()
_core.read_model(helper.make_model(_graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString())
