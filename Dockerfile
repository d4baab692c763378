# A gate in a container: docs/operate.md#in-a-container. Build it with `docker build -t mask-gate .`
FROM python:3.11-slim AS wheel
WORKDIR /source
COPY pyproject.toml MANIFEST.in README.md LICENSE ./
COPY gate ./gate
COPY models ./models
COPY training ./training
COPY configs ./configs
COPY assets ./assets
COPY mask_gate ./mask_gate
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
# What OpenCV's wheel is linked against.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheels /tmp/wheels
ARG EXTRAS=console,mqtt,serial
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(ls /tmp/wheels/*.whl)[$EXTRAS]" \
    && rm -rf /tmp/wheels /tmp/constraints.txt
COPY assets/container/hold-door assets/container/healthcheck.py /usr/local/lib/mask-gate/
# The groups of Debian that cameras and serial ports belong to.
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/mask-gate --groups video,dialout mask-gate \
    && install -d -m 0700 -o mask-gate -g mask-gate \
       /var/lib/mask-gate /run/mask-gate /var/cache/mask-gate
USER mask-gate
WORKDIR /var/lib/mask-gate
ENV STATE_DIRECTORY=/var/lib/mask-gate \
    RUNTIME_DIRECTORY=/run/mask-gate \
    CACHE_DIRECTORY=/var/cache/mask-gate \
    PYTHONUNBUFFERED=1
STOPSIGNAL SIGTERM
# Healthy where the console is off; otherwise what its /healthz says.
HEALTHCHECK --interval=30s --timeout=10s --start-period=180s \
    CMD ["python", "/usr/local/lib/mask-gate/healthcheck.py", "/etc/mask-gate/gate.yaml"]
CMD ["/usr/local/lib/mask-gate/hold-door", "--config", "/etc/mask-gate/gate.yaml", "--headless"]
