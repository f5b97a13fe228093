"""Files of Equinox: leaves without names, read where they lie."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from tests.frameworks import framework


def leaf(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def arrays(step: int) -> list[np.ndarray]:
    """Return what a module may hold: a matrix, a bias, a column-major matrix, other precisions."""
    scale = 0.9**step
    return [
        np.full((30, 8), scale, "f4") + np.arange(8, dtype="f4"),
        np.full(30, 2 * scale, "f4"),
        np.asfortranarray(np.outer(np.arange(5.0), np.arange(7.0)) * scale),
        np.full((3, 4), scale, ">f4") + np.arange(4, dtype=">f4"),
        np.array(0.3),  # as Python's own float is saved: a dropout's rate
        np.array(7),
        np.full((2, 3), scale, "f2"),
    ]


def saved(path: Path, step: int, line: bytes = b"") -> Path:
    path.write_bytes(line + b"".join(map(leaf, arrays(step))))
    return path


@pytest.mark.parametrize("line", [b"", b'{"width": 30, "lr": 0.1}\n'])
def test_leaves_are_numbered_and_read_where_they_lie(tmp_path: Path, line: bytes) -> None:
    for step in range(0, 50, 10):
        saved(tmp_path / f"model_{step}.eqx", step, line)
    with koopscope.open_run(tmp_path) as run:
        description = run.description
        assert description.steps.tolist() == [0, 10, 20, 30, 40]
        found: dict[str, list[np.ndarray]] = {}
        for block in run.blocks(block_bytes=40):
            found.setdefault(block.tensor.name, []).append(block.values.copy())
        shapes = {tensor.name: tensor.shape for tensor in description.tensors}
    assert list(shapes) == ["leaf_0", "leaf_1", "leaf_2", "leaf_3", "leaf_6"]
    assert [skip.name for skip in description.skipped] == ["leaf_4", "leaf_5"]
    assert any("without names" in note for note in description.notes)
    assert dict(description.metadata) == (json.loads(line) if line else {})
    for name, shape in shapes.items():
        values = np.concatenate(found[name], axis=1).reshape(-1, *shape)
        for row, step in enumerate(range(0, 50, 10)):
            assert np.array_equal(values[row], arrays(step)[int(name[5:])]), name


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array at all",
        b'{"a": 1}\n',
        b"{" * 3000 + b"\n" + leaf(np.zeros(3)),
        leaf(np.zeros(30))[:-1],
        leaf(np.zeros(3)) + b"\x93NUMPY",
        leaf(np.zeros(3)) + b"tail",
        leaf(np.zeros(3)).replace(b"(3,)", b"(2**60,)"),
        leaf(np.zeros(3)).replace(b"'<f8'", b"'|O8' "),
        leaf(np.zeros(3)).replace(b"'<f8'", b"__import__('os')"[:5]),
    ],
)
def test_what_is_damaged_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model_1.eqx"
    path.write_bytes(content)
    with pytest.raises(KoopscopeError, match=r"model_1\.eqx") as raised:
        koopscope.open_run(path)
    assert raised.value.message.isprintable()


def test_what_equinox_writes_is_read_bit_for_bit(tmp_path: Path) -> None:
    eqx = framework("equinox")
    jax = framework("jax")
    network = eqx.nn.MLP(3, 2, 5, 2, key=jax.random.PRNGKey(0))
    made = {}
    for step in (1, 2, 3):
        for dtype in ("float32", "bfloat16"):
            moved = jax.tree_util.tree_map(
                lambda x: (x * 0.9**step).astype(dtype) if eqx.is_array(x) else x,  # noqa: B023
                network,
            )
            (tmp_path / dtype).mkdir(exist_ok=True)
            eqx.tree_serialise_leaves(tmp_path / dtype / f"model_{step}.eqx", moved)
            made[dtype, step] = [x for x in jax.tree_util.tree_leaves(moved) if eqx.is_array(x)]
    for dtype in ("float32", "bfloat16"):
        with koopscope.open_run(tmp_path / dtype) as run:
            assert run.description.dtype == dtype
            for block in run.blocks():
                for row, step in enumerate((1, 2, 3)):
                    expected = made[dtype, step][int(block.tensor.name[5:])]
                    assert np.array_equal(block.values[row], np.ravel(expected).astype("f4"))
