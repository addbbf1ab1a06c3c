# These modules add methods to `MultiLabelInterpretation`; they are imported here, so that it always has all of them.
from . import confusions, disagreement, errors # noqa: F401
