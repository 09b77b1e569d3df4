"""What every view of the REST API has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar, cast

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.pagination import PageNumberPagination
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.accounts.rest.authentication import actor_of
from controlplane.accounts.rest.parsers import JsonParser
from controlplane.accounts.rest.permissions import MayView
from controlplane.audit.domain import Actor

_CHECKSUM_MISMATCH = 460
"""A status of the tus protocol that HTTP does not know."""

M = TypeVar("M", bound=Model)
View = TypeVar("View", bound=Callable[..., Response])


class ErrorDetailSerializer(serializers.Serializer[Any]):
    """One error."""

    code = serializers.CharField(help_text="Stable and searchable, such as `model.not_found`.")
    message = serializers.CharField(help_text="One sentence for a person.")
    details = serializers.DictField(help_text="For programs; of a request that is not valid: field -> what is wrong.")


class ErrorSerializer(serializers.Serializer[Any]):
    """The form of every error."""

    error = ErrorDetailSerializer()


class Pages(PageNumberPagination):
    """Pages of 100, or of ``page_size`` up to 500."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 500


class ControlView(APIView):
    """A view for those who may see things; it reads JSON, and its answers are kept in no cache."""

    permission_classes = (MayView,)
    parser_classes: Sequence[type[BaseParser]] = (JsonParser,)
    pagination_class = Pages

    @property
    def actor(self) -> Actor:
        """Who calls."""
        return actor_of(self.request)

    def read_body(self, serializer_class: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The body, if it is what the serializer describes.

        Raises:
            ValidationError: it is not, or has fields the serializer does not know; a misspelt field is never ignored.
        """
        return _read(serializer_class, self.request.data)

    def read_query(self, serializer_class: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The query parameters, but for those of the pages.

        Raises:
            ValidationError: as of `read_body`.
        """
        given = {name: value for name, value in self.request.query_params.items() if name not in {"page", "page_size"}}
        return _read(serializer_class, given)

    def page(self, rows: QuerySet[M], serializer_class: type[serializers.BaseSerializer[M]]) -> Response:
        """The page of rows that the request asks for."""
        paginator = self.pagination_class()
        found = paginator.paginate_queryset(rows, self.request, view=self)
        return paginator.get_paginated_response(serialize_all(serializer_class, found or ()))

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Marks every answer as not to be stored: some hold secrets, all are of the moment."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response


class UnknownPathView(APIView):
    """Answers for every path that is no endpoint, in the API's own form."""

    authentication_classes = ()
    permission_classes = ()
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses before the method matters."""
        raise NotFound("There is no such endpoint; /api/docs/ lists them. Paths have no slash at their end.")


def operation(
    operation_id: str,
    answers: Any,
    *,
    status: int = HTTPStatus.OK,
    request: Any = None,
    query: type[serializers.Serializer[Any]] | None = None,
    headers: tuple[OpenApiParameter, ...] = (),
    also: dict[int, Any] | None = None,
    errors: tuple[int, ...] = (),
) -> Callable[[View], View]:
    """Describes an endpoint in the OpenAPI schema; its text is the method's docstring.

    Args:
        operation_id: the name generated clients give it, ``noun_verb``.
        answers: the serializer of its answer.
        status: the status of its answer.
        request: the serializer of its body; a dictionary by media type where it is not JSON.
        query: the serializer of its query parameters.
        headers: request headers it reads.
        also: other statuses of success, each with the serializer of its answer.
        errors: statuses of the errors it may answer with, besides 401 and 403.
    """
    responses: dict[int, Any] = {int(status): answers} | (also or {})
    for code in sorted({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, *errors}):
        responses[int(code)] = OpenApiResponse(ErrorSerializer, _phrase(code))
    parameters: list[Any] = [*([query] if query else []), *headers]
    return extend_schema(operation_id=operation_id, request=request, responses=responses, parameters=parameters)


def _phrase(status: int) -> str:
    return "Checksum Mismatch" if status == _CHECKSUM_MISMATCH else HTTPStatus(status).phrase


def serialize_all(serializer_class: type[serializers.BaseSerializer[M]], rows: Iterable[M]) -> list[Any]:
    """Each row as the serializer shows it."""
    shown: list[Any] = serializer_class(cast(Any, rows), many=True).data  # the stubs know single objects only
    return shown


def _read(serializer_class: type[serializers.Serializer[Any]], given: Any) -> dict[str, Any]:
    serializer = serializer_class(data=given)
    serializer.is_valid(raise_exception=True)
    known = {name for name, field in serializer.fields.items() if not field.read_only}
    if unknown := sorted(set(given) - known):
        raise serializers.ValidationError(
            {name: [f"There is no such field; there are: {', '.join(sorted(known)) or 'none'}."] for name in unknown}
        )
    values: dict[str, Any] = serializer.validated_data
    return values
