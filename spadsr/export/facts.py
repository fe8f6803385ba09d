"""The description inside an exported ONNX file, in rows of text."""

from pathlib import Path
from typing import Any

from hardware.parsing.source import blaming
from noise_model.errors import InputError


def onnx_facts(path: Path) -> list[tuple[str, str]]:
    """Names and texts of a file: its inputs and outputs with their sizes and meanings, and its metadata.

    Raises:
        InputError: the onnx package is missing, or the file is no ONNX model.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError(f"{path}: reading it needs onnx; in your clone, run: pip install '.[export]'") from error
    with blaming(path, "ONNX file"):
        model = onnx.load(str(path), load_external_data=False)
    opset = model.opset_import[0].version if model.opset_import else 0
    return [
        ("file", f"{path} (ONNX, opset {opset}, {model.producer_name} {model.producer_version})"),
        *((f"input {each.name}", _extent(each)) for each in model.graph.input),
        *((f"output {each.name}", _extent(each)) for each in model.graph.output),
        *((each.key, each.value) for each in model.metadata_props),
    ]


def _extent(value: Any) -> str:
    sizes = (size.dim_param or str(size.dim_value) for size in value.type.tensor_type.shape.dim)
    return f"{' x '.join(sizes)}: {value.doc_string}"
