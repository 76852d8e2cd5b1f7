"""What a file of weights is that is no `.npz`, with the line of Python that makes one of it.

In: the file's first bytes and its name. Out: words for the end of an error's line, or "". Nothing
but these bytes is read: a pickle may run any program. Read on in `verify.network`.
"""
from pathlib import Path

TORCH = ("a file of torch.save; in Python: import torch, numpy; numpy.savez({new!r}, **{{name: "
         "tensor.numpy() for name, tensor in torch.load({path!r}, map_location='cpu').items()}}), "
         "of a checkpoint with ['state_dict'] or its like before .items()")
PICKLE = ("a pickle, which may run any program and is never loaded here; if you trust it: "
          "numpy.savez({new!r}, **arrays) of what pickle.load gives")
KERAS = ("a model of Keras; in Python: import keras, numpy; numpy.savez({new!r}, **{{weight.path: "
         "weight.numpy() for weight in keras.models.load_model({path!r}, compile=False).weights}})")
HDF5 = ("an HDF5 file, as Keras writes it; in Python: import keras, numpy; numpy.savez({new!r}, "
        "**{{weight.path: weight.numpy() for weight in keras.models.load_model({path!r}, "
        "compile=False).weights}}), or of weights alone model.load_weights, then the same")
SAFETENSORS = ("a safetensors file; in Python: import numpy; from safetensors.numpy import "
               "load_file; numpy.savez({new!r}, **load_file({path!r}))")
ONNX = ("an ONNX model; in Python: import numpy, onnx; numpy.savez({new!r}, **{{tensor.name: "
        "onnx.numpy_helper.to_array(tensor) for tensor in onnx.load({path!r}).graph.initializer}})")
STARTS = (
    (b"\x89HDF\r\n", HDF5),
    (b"\x93NUMPY", "one array of numpy.save; numpy.savez writes several under their names"),
    (b"MATLAB 5.0", "a MATLAB file; scipy.io.loadmat reads it, numpy.savez writes its arrays"),
    (b"version https://git-lfs", "a Git LFS pointer (the file itself was not fetched: git lfs "
                                 "pull)"),
    (b"<", "an HTML page, as a failed download leaves it"),
)
ZIP_NAME = 30  # bytes of a zip entry before its name


def other_format(head, path):
    """What the file `path` is, whose first bytes are `head`, and the way out; "" for nothing
    known."""
    words = _known(head, Path(path).suffix.lower())
    return words.format(path=str(path), new=str(Path(path).with_suffix(".npz")))


def _known(head, suffix):
    if head.startswith(b"PK\3\4"):
        first = head[ZIP_NAME:ZIP_NAME + int.from_bytes(head[26:28], "little")]
        if first.endswith(b"data.pkl"):
            return TORCH
        return KERAS if first in (b"metadata.json", b"config.json") else ""
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return TORCH if suffix in (".pt", ".pth", ".ckpt", ".bin") else PICKLE
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return SAFETENSORS
    if suffix == ".onnx":
        return ONNX
    return next((words for start, words in STARTS if head.startswith(start)), "")
