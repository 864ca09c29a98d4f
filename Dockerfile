# The image of every part: api (the default), worker, scheduler, migrate. See docker-compose.yml.
FROM python:3.13-slim AS build
RUN pip install --no-cache-dir uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON=python3.13 UV_PYTHON_DOWNLOADS=never
WORKDIR /app
# The libraries first: they change less often than our own code.
COPY pyproject.toml README.md ./
RUN uv sync --no-dev --no-install-project
COPY alembic.ini hatch_build.py schema.graphql ./
COPY alembic alembic
COPY quotes quotes
COPY workers workers
# The pages are built on the way, or the image is not; what that took does not belong into it.
RUN REQUIRE_PAGES=1 uv sync --no-dev && rm -rf quotes/web/node_modules

FROM python:3.13-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin quotes
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 QUOTES_HOST=0.0.0.0 QUOTES_LOG_FORMAT=json
USER quotes
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["quotes", "api"]
