import pytest

from model_repository_tools.inspection import lay_out


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["model.onnx"], {"model.onnx": "model.onnx"}),
        (["model.onnx", "w/a"], {"model.onnx": "model.onnx", "w/a": "w/a"}),
        (["m/model.onnx", "m/w/a"], {"model.onnx": "m/model.onnx", "w/a": "m/w/a"}),
        (["a/b/model.onnx"], {"model.onnx": "a/b/model.onnx"}),
        (["3/model.onnx"], {"model.onnx": "3/model.onnx"}),
        (
            ["digits/config.pbtxt", "digits/3/model.onnx", "digits/3/w/a"],
            {"config.pbtxt": "digits/config.pbtxt", "model.onnx": "digits/3/model.onnx", "w/a": "digits/3/w/a"},
        ),
        (["config.pbtxt"], {"config.pbtxt": "config.pbtxt"}),
        ([], {}),
    ],
)
def test_the_version_is_found_where_people_put_it(names: list[str], files: dict[str, str]) -> None:
    layout = lay_out(names)
    assert (dict(layout.files), layout.findings) == (files, ())


def test_what_lies_beside_a_version_is_left_out_and_said() -> None:
    layout = lay_out(["m/config.pbtxt", "m/1/model.onnx", "m/labels.txt", "m/configs/gpu.pbtxt"])
    assert set(layout.files) == {"config.pbtxt", "model.onnx"}
    assert [(finding.code, finding.path) for finding in layout.findings] == [
        ("layout.left_out", "configs/gpu.pbtxt"),
        ("layout.left_out", "labels.txt"),
    ]


def test_several_versions_are_not_guessed_among() -> None:
    layout = lay_out(["m/1/model.onnx", "m/2/model.onnx"])
    assert not layout.files
    assert [finding.code for finding in layout.findings] == ["layout.several_versions"]
