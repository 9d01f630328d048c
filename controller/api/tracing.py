"""Traces by OpenTelemetry, for operators who collect them: requests and SQL statements, without their values.

Nothing is loaded unless OTEL_EXPORTER_OTLP_ENDPOINT is set; the packages come with the extra `otel`. What else
OpenTelemetry reads from the environment (OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, ...) holds
here as well.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from paploss.controller.store.database import Database

if TYPE_CHECKING:
    from fastapi import FastAPI

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
_UNTRACED = "healthz,readyz,metrics,static"


class TracingError(Exception):
    """Tracing is configured but cannot be started; one line for users."""


def start_tracing(database: Database, app: "FastAPI | None" = None) -> Callable[[], None]:
    """Trace a database, and the application that uses it, if the environment names a collector.

    Returns a function that ends it: the last spans are sent, within the exporter's own time limit.

    Raises:
        TracingError: the packages are not installed.
    """
    if not os.environ.get(ENDPOINT_VARIABLE):
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracingError(f"{ENDPOINT_VARIABLE} is set, but {error}: install paploss[otel]") from error
    names = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "paploss-controller"}
    provider = TracerProvider(resource=Resource.create(names))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    if app is not None:
        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, excluded_urls=_UNTRACED)
    statements = SQLAlchemyInstrumentor()
    # It asks for SQLAlchemy below 2.1, out of caution: a test here sees its spans with the version that is pinned.
    statements.instrument(engine=database.engine, tracer_provider=provider, skip_dep_check=True)

    def end() -> None:
        provider.shutdown()
        statements.uninstrument()

    return end
