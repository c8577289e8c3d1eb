# Writes theirs.tfevents with TensorBoard 2.21.0's own writer: scalars in each form that
# TensorFlow and PyTorch have written them in, and an image's summary, to be passed over.
import os

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.record_writer import RecordWriter

value, tensor = summary_pb2.Summary.Value, tensor_pb2.TensorProto
shape = TensorShapeProto()
values = [
    (1, value(tag="simple", simple_value=0.25)),
    (2, value(tag="tensor/float", tensor=tensor(dtype=types_pb2.DT_FLOAT, tensor_shape=shape, float_val=[0.5]))),
    (3, value(tag="tensor/double", tensor=tensor(dtype=types_pb2.DT_DOUBLE, tensor_shape=shape,
                                                 tensor_content=bytes.fromhex("9a9999999999b93f")))),
    (4, value(tag="tensor/int64", tensor=tensor(dtype=types_pb2.DT_INT64, tensor_shape=shape, int64_val=[-5]))),
    (5, value(tag="image", image=summary_pb2.Summary.Image(height=1, width=1, encoded_image_string=b"x"))),
    (6, value(tag="pair", tensor=tensor(dtype=types_pb2.DT_FLOAT, float_val=[1, 2]))),
    (-1, value(tag="last", simple_value=2)),
]
with open(os.path.join(os.path.dirname(__file__), "theirs.tfevents"), "wb") as f:
    w = RecordWriter(f)
    w.write(event_pb2.Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString())
    for i, (step, v) in enumerate(values):
        w.write(event_pb2.Event(wall_time=1.7e9 + i + 0.5, step=step,
                                summary=summary_pb2.Summary(value=[v])).SerializeToString())
    w.flush()
