"""A first network, of one node: OpenVINO loads its front end for ONNX only then.

Imported by a nursery after its first answer, so that every later worker is forked with it in place.
"""

import openvino
from onnx import TensorProto, helper

_ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
_graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "rehearsal", _ends[:1], _ends[1:])
_core = openvino.Core()
_core.read_model(helper.make_model(_graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString())
