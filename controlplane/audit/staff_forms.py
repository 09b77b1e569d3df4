"""Forms of the admin's steps: plain Django forms in the admin's clothes."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.http import HttpRequest
from unfold import widgets

STEP_MARKER = "_step"
"""The field that tells a submitted step from the list action or link that led to it."""

_DRESS: dict[type[forms.Widget], type[forms.Widget]] = {
    forms.TextInput: widgets.UnfoldAdminTextInputWidget,
    forms.EmailInput: widgets.UnfoldAdminEmailInputWidget,
    forms.NumberInput: widgets.UnfoldAdminDecimalFieldWidget,
    forms.PasswordInput: widgets.UnfoldAdminPasswordWidget,
    forms.Textarea: widgets.UnfoldAdminTextareaWidget,
    forms.Select: widgets.UnfoldAdminSelectWidget,
    forms.CheckboxInput: widgets.UnfoldBooleanWidget,
    forms.CheckboxSelectMultiple: widgets.UnfoldAdminCheckboxSelectMultipleWidget,
}


class LocalDateTimeInput(forms.DateTimeInput):
    """The browser's own date and time picker: keyboard, phone and screen reader know it."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__({"class": " ".join(widgets.INPUT_CLASSES)}, format="%Y-%m-%dT%H:%M")


class FileInput(forms.FileInput):
    """The browser's own file picker."""

    def __init__(self, accept: str = "") -> None:
        super().__init__({"class": "cp-file", **({"accept": accept} if accept else {})})


class StepForm(forms.Form):
    """The input of one service call. A step that needs none uses it as it is, as a confirmation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = _dressed(field.widget)

    @classmethod
    def of(cls, request: HttpRequest, **kwargs: Any) -> StepForm:
        """The form of a request, bound if the step was submitted."""
        submitted = request.method == "POST" and STEP_MARKER in request.POST
        return cls(request.POST if submitted else None, request.FILES if submitted else None, **kwargs)


def _dressed(widget: forms.Widget) -> forms.Widget:
    dress = _DRESS.get(type(widget))
    if dress is None:
        return widget
    attrs = {name: value for name, value in widget.attrs.items() if name not in {"cols", "rows"} or value != "40"}
    result: Any = dress(attrs=attrs)
    result.is_required = widget.is_required
    if isinstance(widget, forms.Select | forms.CheckboxSelectMultiple):
        result.choices = widget.choices
    return cast(forms.Widget, result)
