"""TensorFlow's protobuf messages, described here field by field.

TensorFlow's own descriptions come with half a gigabyte of TensorFlow, and copying its generated files would register
its names for a process that may load the real ones later. So the messages live in a pool of their own. Only the fields
that are read or written stand here; others in a stranger's file are passed over.

Source: tensorflow/core/framework and tensorflow/core/protobuf, releases 1.15 to 2.20; xla/tsl/protobuf.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

__all__ = ["DATA_TYPES", "POOL", "message"]

_PACKAGE = "engram.tensorflow"

DATA_TYPES = {
    "DT_INVALID": 0, "DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6,
    "DT_STRING": 7, "DT_COMPLEX64": 8, "DT_INT64": 9, "DT_BOOL": 10, "DT_QINT8": 11, "DT_QUINT8": 12, "DT_QINT32": 13,
    "DT_BFLOAT16": 14, "DT_QINT16": 15, "DT_QUINT16": 16, "DT_UINT16": 17, "DT_COMPLEX128": 18, "DT_HALF": 19,
    "DT_RESOURCE": 20, "DT_VARIANT": 21, "DT_UINT32": 22, "DT_UINT64": 23, "DT_FLOAT8_E5M2": 24,
    "DT_FLOAT8_E4M3FN": 25, "DT_INT4": 29, "DT_UINT4": 30,
}  # fmt: skip

# message → fields as "number name type"; * is repeated, | is one of the oneof of that message, {T} a map from text to T
_MESSAGES = {
    "Dim": "1 size int64, 2 name string",
    "TensorShape": "2 dim Dim*, 3 unknown_rank bool",
    "Tensor": (
        "1 dtype Type, 2 tensor_shape TensorShape, 3 version_number int32, 4 tensor_content bytes, 5 float_val float*, "
        "6 double_val double*, 7 int_val int32*, 8 string_val bytes*, 9 scomplex_val float*, 10 int64_val int64*, "
        "11 bool_val bool*, 12 dcomplex_val double*, 13 half_val int32*, 16 uint32_val uint32*, 17 uint64_val uint64*"
    ),
    "Func": "1 name string, 2 attr {Attr}",
    "List": (
        "2 s bytes*, 3 i int64*, 4 f float*, 5 b bool*, 6 type Type*, 7 shape TensorShape*, "
        "8 tensor Tensor*, 9 func Func*"
    ),
    "Attr": (
        "1 list List|, 2 s bytes|, 3 i int64|, 4 f float|, 5 b bool|, 6 type Type|, 7 shape TensorShape|, "
        "8 tensor Tensor|, 9 placeholder string|, 10 func Func|"
    ),
    "Node": "1 name string, 2 op string, 3 input string*, 4 device string, 5 attr {Attr}",
    "Versions": "1 producer int32, 2 min_consumer int32, 3 bad_consumers int32*",
    "Graph": "1 node Node*, 2 library Library, 4 versions Versions",
    "Library": "1 function Function*",
    "Arg": (
        "1 name string, 3 type Type, 4 type_attr string, 5 number_attr string, 6 type_list_attr string, 16 is_ref bool"
    ),
    "Signature": "1 name string, 2 input_arg Arg*, 3 output_arg Arg*, 17 is_stateful bool, 20 control_output string*",
    "Function": "1 signature Signature, 3 node_def Node*, 4 ret {string}, 5 attr {Attr}, 6 control_ret {string}",
    "SavedModel": "1 saved_model_schema_version int64, 2 meta_graphs MetaGraph*",
    "MetaGraph": (
        "1 meta_info_def MetaInfo, 2 graph_def Graph, 3 saver_def Saver, 4 collection_def {Collection}, "
        "5 signature_def {SignatureDef}, 7 object_graph_def ObjectGraph"
    ),
    "MetaInfo": (
        "1 meta_graph_version string, 4 tags string*, 5 tensorflow_version string, 6 tensorflow_git_version string"
    ),
    "Saver": (
        "1 filename_tensor_name string, 2 save_tensor_name string, 3 restore_op_name string, 4 max_to_keep int32, "
        "5 sharded bool, 6 keep_checkpoint_every_n_hours float, 7 version int32"
    ),
    "Collection": "1 node_list NodeList|, 2 bytes_list BytesList|",
    "NodeList": "1 value string*",
    "BytesList": "1 value bytes*",
    "SignatureDef": "1 inputs {TensorInfo}, 2 outputs {TensorInfo}, 3 method_name string",
    "TensorInfo": "1 name string, 2 dtype Type, 3 tensor_shape TensorShape",
    "ObjectGraph": "1 nodes Object*, 2 concrete_functions {ConcreteFunction}",
    "Reference": "1 node_id int32, 2 local_name string",
    "SlotReference": "1 original_variable_node_id int32, 2 slot_name string, 3 slot_variable_node_id int32",
    "Object": (
        "1 children Reference*, 3 slot_variables SlotReference*, 4 user_object UserObject|, 6 function SavedFunction|, "
        "7 variable Variable|, 8 bare_concrete_function BareFunction|, 9 constant Constant|"
    ),
    "UserObject": "1 identifier string, 2 version Versions, 3 metadata string",
    "SavedFunction": "1 concrete_functions string*, 2 function_spec FunctionSpec",
    "BareFunction": (
        "1 concrete_function_name string, 2 argument_keywords string*, 3 allowed_positional_arguments int64"
    ),
    "FunctionSpec": "1 fullargspec Structured, 2 is_method bool, 5 input_signature Structured",
    "ConcreteFunction": (
        "2 bound_inputs int32*, 3 canonicalized_input_signature Structured, 4 output_signature Structured"
    ),
    "Constant": "1 operation string",
    "Variable": (
        "1 dtype Type, 2 shape TensorShape, 3 trainable bool, 4 synchronization int32, "
        "5 aggregation int32, 6 name string"
    ),
    "Empty": "",
    "Values": "1 values Structured*",
    "Fields": "1 fields {Structured}",
    "TensorSpec": "1 name string, 2 shape TensorShape, 3 dtype Type",
    "Structured": (
        "1 none_value Empty|, 13 string_value string|, 33 tensor_spec_value TensorSpec|, 51 list_value Values|, "
        "52 tuple_value Values|, 53 dict_value Fields|"
    ),
    "BundleHeader": "1 num_shards int32, 2 endianness int32, 3 version Versions",
    "BundleEntry": (
        "1 dtype Type, 2 shape TensorShape, 3 shard_id int32, 4 offset int64, 5 size int64, 6 crc32c fixed32, "
        "7 slices Slice*"
    ),
    "Slice": "1 extent Extent*",
    "Extent": "1 start int64, 2 length int64",
    "Trackables": "1 nodes Trackable*",
    "Trackable": "1 children Reference*, 2 attributes Serialized*, 3 slot_variables SlotReference*",
    "Serialized": "1 name string, 2 full_name string, 3 checkpoint_key string",
    "VariableDef": "1 variable_name string, 2 initializer_name string, 3 snapshot_name string, 7 trainable bool",
}

_Field = descriptor_pb2.FieldDescriptorProto


def _fields(text: str) -> Iterator[tuple[int, str, str]]:
    for item in filter(None, (part.strip() for part in text.split(","))):
        number, name, kind = item.split()
        yield int(number), name, kind


def _typed(field: Any, kind: str) -> None:  # noqa: ANN401 - generated classes have no types
    if kind == "Type":
        field.type, field.type_name = _Field.TYPE_ENUM, f".{_PACKAGE}.Type"
    elif kind[0].isupper():
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")


def _map_entry(made: Any, name: str, kind: str) -> str:  # noqa: ANN401
    """The message that protobuf makes of each pair of a map."""
    entry = made.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
    entry.options.map_entry = True
    for number, (role, wanted) in enumerate((("key", "string"), ("value", kind)), start=1):
        field = entry.field.add(name=role, number=number, label=_Field.LABEL_OPTIONAL)
        _typed(field, wanted)
    return f".{_PACKAGE}.{made.name}.{entry.name}"


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="engram_tensorflow.proto", package=_PACKAGE, syntax="proto3")
    kinds = file.enum_type.add(name="Type")
    for name, number in DATA_TYPES.items():
        kinds.value.add(name=name, number=number)
    for title, text in _MESSAGES.items():
        made = file.message_type.add(name=title)
        for number, name, kind in _fields(text):
            field = made.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
            if kind.startswith("{"):
                field.label, field.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
                field.type_name = _map_entry(made, name, kind[1:-1])
                continue
            if kind.endswith("*"):
                field.label = _Field.LABEL_REPEATED
            if kind.endswith("|"):
                if not made.oneof_decl:
                    made.oneof_decl.add(name="kind")
                field.oneof_index = 0
            _typed(field, kind.rstrip("*|"))
    return file


POOL = descriptor_pool.DescriptorPool()
POOL.Add(_described())
_CLASSES: dict[str, type[Message]] = {
    name: message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
}


def message(name: str, /, **fields: Any) -> Any:  # noqa: ANN401 - generated classes have no types
    """A new message of a kind, with these fields."""
    return _CLASSES[name](**fields)
