from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository_tools.errors import UnsafePathError
from model_repository_tools.paths import (
    safe_publication_id,
    safe_relative_path,
    safe_relative_paths,
    safe_triton_name,
)


@pytest.mark.parametrize("name", ["model.onnx", "weights/part-0.bin", "a b.txt", "größe.bin", "C:x", "a..b", "~x"])
def test_ordinary_names_pass_unchanged(name: str) -> None:
    assert str(safe_relative_path(name)) == name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "path.empty"),
        ("/etc/passwd", "path.absolute"),
        ("//host/share", "path.absolute"),
        ("..", "path.traversal"),
        ("a/../../b", "path.traversal"),
        ("./a", "path.traversal"),
        ("a//b", "path.traversal"),
        ("a/", "path.traversal"),
        ("..\\b", "path.backslash"),
        (".hidden", "path.hidden"),
        ("a/.git/config", "path.hidden"),
        ("a\x00b", "path.unprintable"),
        ("a\nb", "path.unprintable"),
        ("model\u202exnno.exe", "path.unprintable"),
        ("a\udc80", "path.unprintable"),
        (" a", "path.blank"),
        ("a /b", "path.blank"),
        ("x" * 256, "path.too_long"),
        ("/".join(["x" * 200] * 6), "path.too_long"),
        ("/".join("x" * 17), "path.too_deep"),
    ],
)
def test_a_name_that_could_leave_its_folder_or_deceive_is_refused(name: str, code: str) -> None:
    with pytest.raises(UnsafePathError) as caught:
        safe_relative_path(name)
    assert caught.value.code == code


@given(st.text(st.characters() | st.sampled_from("./\\ .~"), max_size=40))
def test_whatever_is_accepted_stays_inside_and_means_one_thing(name: str) -> None:
    try:
        path = safe_relative_path(name)
    except UnsafePathError:
        return
    base = Path("/base/folder")
    assert (base / path).resolve().is_relative_to(base)
    assert (base / path).resolve() != base
    assert str(path) == name
    assert safe_relative_path(str(path)) == path


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a"),
        ("Model.onnx", "model.onnx"),
        ("stra\u00dfe", "STRASSE"),
        ("gr\u00f6\u00dfe", "gro\u0308\u00dfe"),
        ("\ufb01le", "file"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("Data/x", "data/y"),
        ("Data", "data/y"),
    ],
)
def test_names_that_some_file_system_takes_for_one_collide(names: tuple[str, ...]) -> None:
    with pytest.raises(UnsafePathError) as caught:
        safe_relative_paths(names)
    assert caught.value.code == "path.collision"


def test_names_that_differ_come_back_in_their_order() -> None:
    assert [str(path) for path in safe_relative_paths(["b/x", "b/y", "a"])] == ["b/x", "b/y", "a"]


@given(st.lists(st.text("abAB/.ß", min_size=1, max_size=6), max_size=6))
def test_accepted_sets_never_hold_two_names_equal_but_for_case(names: list[str]) -> None:
    try:
        paths = safe_relative_paths(names)
    except UnsafePathError:
        return
    assert len({str(path).casefold() for path in paths}) == len(names)


@pytest.mark.parametrize("name", ["digits.v3", "D", "a-b_c.v12"])
def test_model_names_pass(name: str) -> None:
    assert safe_triton_name(name) == name


@pytest.mark.parametrize("name", ["", ".x", "..", "a/b", "a b", "ä", "x" * 129, "a\n"])
def test_names_that_are_no_model_folder_are_refused(name: str) -> None:
    with pytest.raises(UnsafePathError):
        safe_triton_name(name)


@pytest.mark.parametrize("name", ["", ".trash", "a.b", "a/b", "x" * 101])
def test_names_that_are_no_publication_are_refused(name: str) -> None:
    with pytest.raises(UnsafePathError):
        safe_publication_id(name)
