"""What is counted."""

from fastapi import APIRouter, Depends

from services.api.books import Read
from services.api.identity import signed_in
from services.api.models import Aggregation, Aggregations, KeyPart
from shared import aggregation as declared
from shared.http.responses import SIGNED_IN, problems

router = APIRouter(prefix="/v1", tags=["totals"], dependencies=[Depends(signed_in)])


@router.get("/aggregations", responses=problems(*SIGNED_IN))
async def aggregations(books: Read) -> Aggregations:
    """What is counted: each aggregation with its key, its measures and the entries it counts."""
    source = books.source
    return Aggregations(source=source.name, aggregations=[_aggregation(each) for each in source.aggregations])


def _aggregation(each: declared.Aggregation) -> Aggregation:
    return Aggregation(
        name=each.name,
        key=[_part(part) for part in each.parts],
        measures=list(each.columns),
        where=repr(each.where) if each.where else None,
    )


def _part(part: declared.KeyPart) -> KeyPart:
    match part:
        case declared.TimeKey():
            return KeyPart(name=part.name, field=part.field, kind=part.grain, zone=part.zone.key)
        case declared.FieldKey() | declared.OneOf():
            return KeyPart(name=part.name, field=part.field, kind=_KINDS[part.kind])
    raise TypeError(f"a key part of another kind: {part!r}")


_KINDS: dict[type, str] = {str: "string", int: "integer", bool: "boolean"}
